"""An independent reference peer, written from the wire and behaviour rules alone.

It shares no code with the program, so that both reading the same rule wrongly in the same way is
unlikely.  `packets` builds and takes apart headers byte by byte; `peer` is a small tunnel end in
both modes (it does what the oldest deployed peers do: one packet at a time, nothing clever).
"""
