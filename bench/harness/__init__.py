"""The benchmark's rooms. Data goes one way through them:

    ways.py, bed.py              what is compared, and the two hosts that it is set up on
    load.py                      iperf3 and round-trips, which make the traffic
    throughput.py small_packets.py latency.py store.py transforms.py growth.py
                                 one group of measurements each: a list of jobs
    jobs.py, progress.py         what a job is; runs them all, and says how far it is
    results.py, machine.py       every single run's figures, and what they were measured on
    targets.py report.py plots.py
                                 what the project asks for; JSON and Markdown; SVG

bench/run puts them together.
"""
