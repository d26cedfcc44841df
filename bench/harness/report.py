"""What was measured, as JSON for programs and as Markdown for people."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from . import flood, forwarded, growth, latency, small_packets, store, throughput, transforms
from .results import Results, Run, Stat
from .targets import TARGETS, Part
from .ways import FIRST_LIMIT, NO_TUNNEL, OWN, WIREGUARD

Row = Sequence[str]


# JSON

def to_json(meta: dict[str, object], results: Results) -> str:
    """A line for each record: to be read, compared and searched line by line."""
    lists = {"targets": targets(results), "medians": medians(results),
             "runs": map(run_record, results.runs)}
    parts = [f'"meta": {json.dumps(meta, indent=1)}', f'"ways": {json.dumps(results.ways)}',
             f'"missing": {json.dumps(results.missing)}']
    for name, records in lists.items():
        lines = ",\n".join(json.dumps(rounded(record)) for record in records)
        parts.append(f'"{name}": [\n{lines}\n]')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def rounded(value: Any) -> Any:
    """No more digits than anybody can measure."""
    if isinstance(value, dict):
        return {name: rounded(item) for name, item in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value


def run_record(run: Run) -> dict[str, Any]:
    return {name: value for name, value in asdict(run).items() if value not in ("", {})}


def medians(results: Results) -> Iterable[dict[str, Any]]:
    for group in dict.fromkeys(run.group for run in results.runs):
        for case in results.cases(group):
            for way in results.ways_of(group):
                names = dict.fromkeys(
                    name for run in results.runs
                    if (run.group, run.case, run.way) == (group, case, way) for name in run.figures)
                figures = {name: asdict(stat) for name in names
                           if (stat := results.stat(group, case, way, name))}
                if figures:
                    yield {"group": group, "case": case, "way": way, "figures": figures}


def targets(results: Results) -> Iterable[dict[str, Any]]:
    for target in TARGETS:
        for way in [OWN] if target.one_way_only else results.own_ways:
            yield {"target": target.what, "asked": target.asked, "way": way,
                   "measured": {part.label or "value": asdict(part.stat)
                                for part in target.parts(results, way) if part.stat},
                   "verdict": target.verdict(results, way)}


# Markdown

def to_markdown(meta: dict[str, Any], results: Results, plots: dict[str, str]) -> str:
    """plots: the file of the plot of each group, by the title that it stands under."""
    parts = [f"# Benchmark of {meta['date']}", describe(meta)]
    for title, section in SECTIONS:
        text = section(meta, results)
        if text:
            parts.append(f"## {title}")
            if title in plots:
                parts.append(f"![{title}]({plots[title]})")
            parts.append(text)
    parts += notes(results)
    parts += ["## Targets", *remarks(meta, results), targets_table(results)]
    return "\n\n".join(parts) + "\n"


def describe(meta: dict[str, Any]) -> str:
    versions = "; ".join(f"{name}: {value}" for name, value in meta["versions"].items())
    return (f"{meta['cores']} cores of {meta['cpu']}, {meta['memory_gigabytes']} GB, Linux "
            f"{meta['kernel']}. {versions}. Others used {meta['busy_before']:.0%} of the machine "
            "in the second before.\n\n"
            "Two network namespaces and one veth pair of MTU 1500 on one machine: both hosts, both "
            "ends of each tunnel and the load share its cores. TCP is cubic. The ways take turns; "
            "a figure is the median of all rounds, with the lowest and the highest in brackets, "
            "and a ratio is made inside each round first.")


def table(head: Row, rows: Iterable[Row]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def show(stat: Stat | None, digits: int = 2, scale: float = 1) -> str:
    if stat is None:
        return ""
    median, low, high = (f"{value / scale:,.{digits}f}"
                         for value in (stat.median, stat.low, stat.high))
    return median if stat.runs == 1 or low == high else f"{median} ({low} to {high})"


def by_way(results: Results, group: str, case: str, head: Row, row: Callable[[str], Row]) -> str:
    """What the table is of, and a line for each way: what is missing says why."""
    rows = []
    for way in results.ways:
        missing = results.missing.get(way)
        why = f"missing: {missing}" if missing else results.why_empty(group, case, way)
        rows.append([way, why, *[""] * (len(head) - 2)] if why else [way, *row(way)])
    return f"{case}; {rounds_text(results.rounds(group, case))}:\n\n{table(head, rows)}"


def rounds_text(rounds: int) -> str:
    return f"{rounds} round{'s' if rounds != 1 else ''}"


def throughput_section(meta: dict[str, Any], results: Results) -> str:
    group, texts = throughput.GROUP, []
    for case in results.cases(group):
        def row(way: str, case: str = case) -> Row:
            ratio = Stat.of(results.ratios(group, case, "gbit_per_s", way, NO_TUNNEL))
            return [show(results.stat(group, case, way, "gbit_per_s")), show(ratio),
                    show(results.stat(group, case, way, "retransmitted"), 0),
                    show(results.stat(group, case, way, "out_of_order"), 0)]

        texts.append(by_way(results, group, case, ["way", "Gbit/s", "of no tunnel", "sent again",
                                                   "out of order"], row))
    if not texts:
        return ""
    return "\n\n".join([*texts, "Sent again and out of order: segments of a run, as both hosts' "
                                "TCP counts them."])


def cost_section(meta: dict[str, Any], results: Results) -> str:
    group, texts = throughput.GROUP, []
    for case in results.cases(group):
        def row(way: str, case: str = case) -> Row:
            stats = [results.stat(group, case, way, figure) for figure in (
                "sending_user_s_per_gigabyte", "sending_system_s_per_gigabyte",
                "receiving_user_s_per_gigabyte", "receiving_system_s_per_gigabyte",
                "cores_per_gbit_sending", "cores_per_gbit_receiving", "cores_per_gbit")]
            return [show(stat, 3) for stat in stats] if stats[0] else ["no process", *[""] * 6]

        texts.append(by_way(results, group, case, [
            "way", "sending, user s/GB", "system s/GB", "receiving, user s/GB", "system s/GB",
            "cores per Gbit/s, sending", "receiving", "both"], row))
    if not texts:
        return ""
    return "\n\n".join(["Processor time of the tunnel's processes. What the kernel does outside "
                        "of them (VXLAN, the hosts' own TCP) is in none.", *texts])


PAIRS = ("pairs_per_second", "pairs a second")
SET_UPS = ("set_ups_per_second", "set-ups a second")


def small_packets_section(meta: dict[str, Any], results: Results) -> str:
    group, texts = small_packets.GROUP, []
    for case in results.cases(group):
        first, label = SET_UPS if case.startswith("set-ups") else PAIRS

        def row(way: str, case: str = case, first: str = first) -> Row:
            ratio = Stat.of(results.ratios(group, case, first, way, NO_TUNNEL))
            tail = Stat.of(results.ratios(group, case, "p99_us", way, NO_TUNNEL))
            return [show(results.stat(group, case, way, first), 0), show(ratio),
                    *(show(results.stat(group, case, way, name), 3, 1000)
                      for name in ("p50_us", "p99_us")),
                    show(tail), show(results.stat(group, case, way, "retransmitted"), 0)]

        texts.append(by_way(results, group, case, [
            "way", label, "of no tunnel", "p50 ms", "p99 ms", "p99 of no tunnel", "sent again"],
            row))
    return "\n\n".join(texts)


def latency_section(meta: dict[str, Any], results: Results) -> str:
    group, texts = latency.GROUP, []
    for case in results.cases(group):
        has_bulk = case != latency.IDLE
        head = ["way", "p50 ms", "p99 ms", "p99.9 ms", "p50 of no tunnel", "p99 of no tunnel",
                *(["bulk Gbit/s"] if has_bulk else [])]

        def row(way: str, case: str = case, has_bulk: bool = has_bulk) -> Row:
            return [*(show(results.stat(group, case, way, name), 3, 1000)
                      for name in latency.PERCENTILES),
                    *(show(Stat.of(results.ratios(group, case, name, way, NO_TUNNEL)))
                      for name in ("p50_us", "p99_us")),
                    *([show(results.stat(group, case, way, "bulk_gbit_per_s"), 3)]
                      if has_bulk else [])]

        texts.append(by_way(results, group, case, head, row))
        if case == latency.SLOW_LINK:
            texts.append(f"A run of {meta['slow_link_seconds']:.0f} s has some hundred round trips "
                         "there: p99.9 is the longest one. Left out, to save time: "
                         f"{', '.join(meta['not_on_slow_link'])}.")
    if not texts:
        return ""
    return "\n\n".join(["One connection with 1-byte messages, client and server on cores of "
                        "their own.", *texts])


def flood_section(meta: dict[str, Any], results: Results) -> str:
    group, rows = flood.GROUP, []
    for case in results.cases(group):
        alone = throughput.case(1, case.split(", ")[1])
        for way in results.ways_of(group):
            base = results.values(throughput.GROUP, alone, way, "gbit_per_s")
            beside = results.values(group, case, way, "gbit_per_s")
            ratio = Stat.of(value / base[n] for n, value in beside.items() if base.get(n))
            rows.append([case, way, show(Stat.of(beside.values())) or results.why_empty(
                group, case, way) or "", show(ratio)])
    if not rows:
        return ""
    return "\n\n".join([
        "Forged sources, each datagram from another one, at the server's UDP port; "
        f"{rounds_text(meta['fewer_rounds'])}. The flood itself, and what the server's TCP "
        "answers, share the cores.",
        table(["case", "way", "Gbit/s", "of the flow alone"], rows)])


def forwarded_section(meta: dict[str, Any], results: Results) -> str:
    group, texts = forwarded.GROUP, []
    for case in results.cases(group):
        def row(way: str, case: str = case) -> Row:
            ratio = Stat.of(results.ratios(group, case, "gbit_per_s", way, NO_TUNNEL))
            return [show(results.stat(group, case, way, "gbit_per_s")), show(ratio)]

        texts.append(by_way(results, group, case, ["way", "Gbit/s", "of no tunnel"], row))
    if not texts:
        return ""
    return "\n\n".join(["From a LAN behind the client to a container behind the server: both ends "
                        "forward, and translate addresses.", *texts])


STORE_FIGURES = {
    "lookup_by_peer_per_s": "by peer", "lookup_by_tunnel_address_per_s": "by tunnel address",
    "refresh_per_s": "refresh", "insert_per_s": "insert", "expire_per_s": "expire",
    "lookup_by_peer_while_changing_per_s": "by peer while it changes",
}


def store_section(meta: dict[str, Any], results: Results) -> str:
    group, rows = store.GROUP, []
    for case in results.cases(group):
        for way in results.ways_of(group):
            stats = [results.stat(group, case, way, name) for name in STORE_FIGURES]
            if any(stats):
                rows.append([case, way, *(show(stat, 2, 1e6) for stat in stats),
                             show(results.stat(group, case, way, "bytes_per_entry"), 0)])
    if not rows:
        return ""
    return "\n\n".join([
        "Million a second, in random order, of all threads together; "
        "each run's figure is the median of three repetitions. `mutex` is a plain table behind a "
        "mutex.",
        table(["case", "table", *STORE_FIGURES.values(), "bytes an entry"], rows)])


def transforms_section(meta: dict[str, Any], results: Results) -> str:
    group = transforms.GROUP
    rows = []
    for kind in transforms.KINDS:
        time = results.stat(group, transforms.TIME, OWN, f"{kind}_ns")
        count = results.stat(group, transforms.INSTRUCTIONS, OWN, f"{kind}_instructions")
        if time or count:
            rows.append([kind.replace("_", ", "), show(time, 1), show(count, 1)])
    if not rows:
        return ""
    return table(["for each segment", "ns", "instructions (callgrind)"], rows)


def growth_section(meta: dict[str, Any], results: Results) -> str:
    group = growth.GROUP
    rows = [[case, show(results.stat(group, case, OWN, "gbit_per_s")),
             show(results.stat(group, case, OWN, "resident_octets"), 1, 2 ** 20)]
            for case in results.cases(group) if results.stat(group, case, OWN, "gbit_per_s")]
    if not rows:
        return ""
    return "\n\n".join([
        "One flow, and the server's resident memory, while its store fills; "
        f"{rounds_text(meta['fewer_rounds'])}.",
        table(["server", "Gbit/s", "resident MiB"], rows)])


SECTIONS: list[tuple[str, Callable[[dict[str, Any], Results], str]]] = [
    ("Throughput", throughput_section),
    ("Cost", cost_section),
    ("Small packets", small_packets_section),
    ("Latency", latency_section),
    ("Beside a flood", flood_section),
    ("Forwarded", forwarded_section),
    ("The store alone", store_section),
    ("The transforms alone", transforms_section),
    ("Growth", growth_section),
]


def notes(results: Results) -> list[str]:
    """What is missing and what failed, where nobody overlooks it."""
    lines = [f"- {way} is missing: {reason}" for way, reason in results.missing.items()]
    lines += [f"- {run.group}, {run.case}, {run.way}, round {run.round} failed: {run.failure}"
              for run in results.failures()]
    return ["## What could not be measured", "\n".join(lines)] if lines else []


def remarks(meta: dict[str, Any], results: Results) -> list[str]:
    """Why a target is not measured although its group was."""
    said = []
    if WIREGUARD in results.ways and not results.wireguard_has_offloads:
        said.append(f"{meta['versions']['wireguard-go']} has no offloads, so it is not what the "
                    "target means; `--wireguard-go` takes a newer one.")
    if results.own_ways and FIRST_LIMIT not in results.ways:
        said.append("`bench/limit` as first written was not there; `--first-limit` takes it.")
    return said


def targets_table(results: Results) -> str:
    """The first way of the program is what the targets are about; the others stand beside it."""
    first, *others = results.own_ways or [OWN]
    rows = []
    for target in TARGETS:
        row = [target.what, target.asked, measured(target.parts(results, first)),
               target.verdict(results, first)]
        for way in others:
            row += ["", ""] if target.one_way_only else [measured(target.parts(results, way)),
                                                         target.verdict(results, way)]
        rows.append(row)
    head = ["target", "asked", f"{first}: measured", "met?"]
    for way in others:
        head += [f"{way}: measured", "met?"]
    return table(head, rows)


def measured(parts: list[Part]) -> str:
    return "; ".join(f"{part.label} {show(part.stat, part.digits)}".strip()
                     for part in parts if part.stat)
