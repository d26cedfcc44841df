"""The figures as SVG, drawn by gnuplot: bars by way, with the lowest and the highest run as error
bars, and lines over the size of the store."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from . import growth, latency, small_packets, store, throughput
from .results import Results, Stat
from .settings import Settings
from .ways import NO_TUNNEL, OWN

GREY = "#8c8c8c"
COLOURS = ("#0b4f9e", "#2f8fdf", "#9ccbf2", "#e08e1b", "#c0392b", "#2e8b57", "#7d5ba6", "#17a2a2",
           "#4a4a4a", "#b5651d", "#d16ba5")


@dataclass(frozen=True)
class Series:
    """The bars or the line of one name in the key; a value for each place on the x axis."""

    name: str
    colour: str
    values: Sequence[Stat | None]


@dataclass(frozen=True)
class Chart:
    title: str
    y_label: str
    x: Sequence[str | int]  # names of clusters of bars, or numbers on an axis
    series: Sequence[Series]
    logarithmic: bool = False
    x_label: str = ""


def draw_all(results: Results, settings: Settings, directory: Path, stem: str) -> dict[str, str]:
    """Draw what was measured; the file of each plot by the title of the report's section."""
    drawn = {}
    for section, name, chart in (
            ("Throughput", "throughput", throughput_chart(results, settings)),
            ("Cost", "cost", cost_chart(results)),
            ("Small packets", "small-packets", small_packets_chart(results)),
            ("Latency", "latency", latency_chart(results)),
            ("The store alone", "store", store_chart(results, settings)),
            ("Growth", "growth", growth_chart(results, settings))):
        chart = without_empty(chart)
        if chart.series:
            file = directory / f"{stem}-{name}.svg"
            draw(bars(chart) if isinstance(chart.x[0], str) else lines(chart), file)
            drawn[section] = file.name
    return drawn


def without_empty(chart: Chart) -> Chart:
    series = [one for one in chart.series if any(one.values)]
    return replace(chart, series=series)


def scaled(stat: Stat | None, scale: float) -> Stat | None:
    return stat and Stat(stat.median / scale, stat.low / scale, stat.high / scale, stat.runs)


def by_way(results: Results, group: str, cases: Sequence[str], figure: str,
           scale: float = 1) -> list[Series]:
    return [Series(way, colour(way, n),
                   [scaled(results.stat(group, case, way, figure), scale) for case in cases])
            for n, way in enumerate(results.ways)]


def colour(way: str, n: int) -> str:
    return GREY if way == NO_TUNNEL else COLOURS[(n - 1) % len(COLOURS)]


def throughput_chart(results: Results, settings: Settings) -> Chart:
    cases = [throughput.case(flows, direction) for flows in settings.flows
             for direction in throughput.DIRECTIONS]
    return Chart("Throughput: median, and lowest to highest run", "Gbit/s", cases,
                 by_way(results, throughput.GROUP, cases, "gbit_per_s"))


def cost_chart(results: Results) -> Chart:
    case = throughput.case(1, "upload")
    ends = (("sending end", "cores_per_gbit_sending"),
            ("receiving end", "cores_per_gbit_receiving"), ("both", "cores_per_gbit"))
    series = [Series(way, colour(way, n),
                     [results.stat(throughput.GROUP, case, way, figure) for _, figure in ends])
              for n, way in enumerate(results.ways)]
    return Chart("Cost of one flow, upload: processor time of the tunnel's processes",
                 "cores per Gbit/s (logarithmic)", [end for end, _ in ends], series, True)


def small_packets_chart(results: Results) -> Chart:
    cases = [case for case in results.cases(small_packets.GROUP) if not case.startswith("set-ups")]
    return Chart("Request/response pairs", "pairs a second (logarithmic)", cases,
                 by_way(results, small_packets.GROUP, cases, "pairs_per_second"), True)


def latency_chart(results: Results) -> Chart:
    cases = (latency.IDLE, latency.BULK, latency.SLOW_LINK)
    return Chart("p99 of a round trip on one connection", "milliseconds (logarithmic)", cases,
                 by_way(results, latency.GROUP, cases, "p99_us", 1000), True)


def store_chart(results: Results, settings: Settings) -> Chart:
    series = [Series(f"{table}, {threads} thread{'s' if threads > 1 else ''}",
                     COLOURS[n % len(COLOURS)],
                     [scaled(results.stat(store.GROUP, store.case(entries, threads), table,
                                          "lookup_by_peer_per_s"), 1e6)
                      for entries in settings.entries])
              for n, (table, threads) in enumerate((table, threads) for table in settings.tables
                                                   for threads in settings.store_threads)]
    return Chart("Lookups by peer, all threads together", "million a second (logarithmic)",
                 settings.entries, series, True, "entries (logarithmic)")


def growth_chart(results: Results, settings: Settings) -> Chart:
    series = [Series(f"{threads} thread{'s' if threads > 1 else ''}", COLOURS[n % len(COLOURS)],
                     [results.stat(growth.GROUP, growth.case(peers, threads), OWN, "gbit_per_s")
                      for peers in settings.peers])
              for n, threads in enumerate(settings.growth_threads)]
    return Chart("One flow, while the server's store fills", "Gbit/s", settings.peers, series,
                 x_label="peers in the store (logarithmic)")


# gnuplot

def preamble(chart: Chart) -> list[str]:
    return [
        "set terminal svg size 1400,560 font 'sans-serif,14' background 'white'",
        "set encoding utf8",
        f'set title "{chart.title}" noenhanced',
        f'set xlabel "{chart.x_label}" noenhanced',
        f'set ylabel "{chart.y_label}" noenhanced',
        "set key outside right top vertical Left reverse noenhanced samplen 2 width 2",
        "set grid ytics linecolor '#dddddd'",
        "set tmargin 3",
    ]


def bars(chart: Chart) -> str:
    """Clusters of bars: boxes beside each other, because a histogram cannot have a logarithmic axis
    that ends below its smallest bar."""
    width = 0.85 / len(chart.series)
    script, plots = preamble(chart), []
    for n, one in enumerate(chart.series):
        shift = (n - (len(chart.series) - 1) / 2) * width
        script += [f"$d{n} << end",
                   *(f"{x + shift} {stat.median} {stat.low} {stat.high}"
                     for x, stat in enumerate(one.values) if stat), "end"]
        plots += [f"$d{n} using 1:2 with boxes linecolor '{one.colour}' title '{one.name}'",
                  f"$d{n} using 1:3:(0):($4-$3) with vectors nohead linewidth 1.5 "
                  "linecolor '#000000' notitle"]
    labels = [str(label).replace(", ", "\\n") for label in chart.x]
    tics = ", ".join(f'"{label}" {x}' for x, label in enumerate(labels))
    lowest = min(stat.low for one in chart.series for stat in one.values if stat)
    floor = 10 ** (len(str(int(lowest))) - 1) / 2 if lowest >= 1 else lowest / 2
    script += [f"set boxwidth {width * 0.92}", "set style fill solid", "set border 3",
               "set tics nomirror", "set bmargin 4",
               f"set xtics ({tics}) noenhanced scale 0",
               f"set xrange [-0.5:{len(chart.x) - 0.5}]",
               *(["set logscale y", f"set yrange [{floor}:*]", "set format y '%g'"]
                 if chart.logarithmic else ["set yrange [0:*]"]),
               "plot " + ", ".join(plots)]
    return "\n".join(script)


def lines(chart: Chart) -> str:
    script, plots = preamble(chart), []
    for n, one in enumerate(chart.series):
        script += [f"$d{n} << end",
                   *(f"{x} {stat.median} {stat.low} {stat.high}"
                     for x, stat in zip(chart.x, one.values) if stat), "end"]
        plots += [f"$d{n} using 1:2 with linespoints pointtype 7 linewidth 2 "
                  f"linecolor '{one.colour}' title '{one.name}'",
                  f"$d{n} using 1:3:(0):($4-$3) with vectors nohead linewidth 1.5 "
                  f"linecolor '{one.colour}' notitle"]
    tics = ", ".join(f'"{x:,}" {x}' for x in chart.x)
    script += ["set border 3", "set tics nomirror", "set logscale x", f"set xtics ({tics})",
               f"set xrange [{chart.x[0] / 1.5}:{chart.x[-1] * 1.5}]",
               *(["set logscale y", "set format y '%g'"] if chart.logarithmic
                 else ["set yrange [0:*]"]),
               "plot " + ", ".join(plots)]
    return "\n".join(script)


def draw(script: str, file: Path) -> None:
    done = subprocess.run(["gnuplot"], input=script + "\n", capture_output=True, text=True)
    if done.returncode or not done.stdout:
        raise RuntimeError(f"gnuplot: {done.stderr}")
    file.write_text(done.stdout)
