"""Turns the JSON files of benchmarks.run into Markdown and plots.

python -m benchmarks.report FILES                      prints the tables
python -m benchmarks.report FILES --update README.md   between the markers in that file
python -m benchmarks.report FILES --plots docs         writes ratios.png and roofline.png
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BEGIN = "<!-- begin: written by benchmarks.report -->"
END = "<!-- end: written by benchmarks.report -->"


Values = dict[str, float]  # by the name of the layer
WHO = ("torch", "ours")


@dataclass(frozen=True)
class Report:
    """One file, with the times of layers, the overhead of a call, or the memory of calls.

    Ratios are by peer and layer, rooflines fractions by layer.
    """

    conditions: dict[str, Any]
    ratios: dict[str, Values]
    rooflines: Values
    overhead: dict[str, Any]
    memory: dict[str, Any]

    @property
    def label(self) -> str:
        c = self.conditions
        words = [c["mode"], c["dtype"]]
        if c["layout"] != "ncl":
            words.append(c["layout"])
        if c["device"] == "cpu":
            words.append(c["isa"])
        words += [c["layers"]] if c["layers"] else []
        threads = "" if c["threads"] == 1 else f", {c['threads']} threads"
        return " ".join(words) + threads

    @property
    def drawn(self) -> bool:
        """Of layers that nobody knows by name: they are counted, not listed."""
        return str(self.conditions["layers"]).startswith("random")

    @property
    def columns(self) -> dict[str, Values]:
        """Ratios to torch under the label alone, to others with their name."""
        base = self.conditions["base"]
        names = {"torch": "", "base": f", to {base}", "ncl": ", to (N, C, L)"}
        return {self.label + names.get(p, f", to {p}"): v for p, v in self.ratios.items()}

    @property
    def machine(self) -> str:
        c = self.conditions
        variables = "".join(f", {key}={value}" for key, value in c["environment"].items())
        return f"{c['processor']}, torch {c['torch']}{variables}"


def load_report(path: Path) -> Report:
    report = json.loads(path.read_text())
    rows = {row["workload"]["name"]: row for row in report.get("rows", ())}
    wrong = [name for name, row in rows.items() if row["timing"] is None]
    if wrong:
        raise SystemExit(f"{path}: wrong results for {', '.join(wrong)}")
    ratios: dict[str, Values] = {}
    for name, row in rows.items():
        for peer, time in row["timing"]["peers"].items():
            ratios.setdefault(peer, {})[name] = time["ratio"]
    return Report(
        conditions=report["conditions"],
        ratios=ratios,
        rooflines={name: row["roofline"] for name, row in rows.items()},
        overhead=report.get("overhead", {}),
        memory=report.get("memory", {}),
    )


def markdown(reports: list[Report]) -> str:
    """The tables of each device: their layers are not the same."""
    devices = dict.fromkeys(r.conditions["device"] for r in reports)
    return "\n\n".join(
        tables([r for r in reports if r.conditions["device"] == device]) for device in devices
    )


def tables(reports: list[Report]) -> str:
    timed = [r for r in reports if r.rooflines]
    columns = {label: values for r in timed for label, values in r.columns.items()}
    listed = {label: values for r in timed if not r.drawn for label, values in r.columns.items()}
    machines = "\n".join(f"Measured on {m}." for m in dict.fromkeys(r.machine for r in reports))
    parts = [machines]
    if timed:
        parts += [table(summary_lines(columns)), table(roofline_lines(timed))]
    if any(r.overhead for r in reports):
        parts.append(table(overhead_lines(reports)))
    if any(r.memory for r in reports):
        parts.append(table(memory_lines(reports)))
    if listed:
        parts += [
            "<details><summary>Every layer: time of torch, or another, / ours</summary>",
            table(layer_lines(listed)),
            "</details>",
        ]
    return "\n\n".join(parts)


def table(lines: list[list[str]]) -> str:
    """The first line is the head, the first column the only one that is no number."""
    head, *body = ("| " + " | ".join(cells) + " |" for cells in lines)
    return "\n".join([head, "|---|" + "---:|" * (len(lines[0]) - 1), *body])


def summary_lines(columns: dict[str, Values]) -> list[list[str]]:
    lines = [["time of torch, or another, / ours", "geometric mean", "smallest", "largest", "< 1"]]
    for label, values in columns.items():
        ratios = values.values()
        mean, slower = statistics.geometric_mean(ratios), sum(ratio < 1 for ratio in ratios)
        numbers = [f"{mean:.2f}", f"{min(ratios):.2f}", f"{max(ratios):.1f}"]
        lines.append([label, *numbers, f"{slower} of {len(ratios)}"])
    return lines


def roofline_lines(reports: list[Report]) -> list[list[str]]:
    lines = [["shortest possible time / ours", "geometric mean", "smallest", "GFLOP/s", "GB/s"]]
    for r in reports:
        fractions, c = r.rooflines.values(), r.conditions
        numbers = [f"{statistics.geometric_mean(fractions):.2f}", f"{min(fractions):.2f}"]
        lines.append([r.label, *numbers, f"{c['peak_gflops']:.0f}", f"{c['bandwidth_gb']:.0f}"])
    return lines


def overhead_lines(reports: list[Report]) -> list[list[str]]:
    lines = [["a call that computes next to nothing", "torch us", "ours us", "torch / ours"]]
    for r in reports:
        for name, t in r.overhead.items():
            theirs = t["peers"]["torch"]
            times = [f"{seconds * 1e6:.2f}" for seconds in (theirs["seconds"], t["ours"])]
            lines.append([f"{name}, {r.conditions['isa']}", *times, f"{theirs['ratio']:.2f}"])
    return lines


def memory_lines(reports: list[Report]) -> list[list[str]]:
    lines = [["memory in MiB", "torch", "ours"]]
    for r in reports:
        if not r.memory:
            continue
        peaks = r.memory["peaks"].values()
        beside = [max(p[who]["peak"] - p[who]["results"] for p in peaks) for who in WHO]
        growth = [r.memory["growth"][who] for who in WHO]
        for what, numbers in (
            ("most beside the results", beside),
            ("growth over many lengths", growth),
        ):
            lines.append([f"{what}, {r.label}", *(f"{n / 2**20:.1f}" for n in numbers)])
    return lines


def layer_lines(columns: dict[str, Values]) -> list[list[str]]:
    names = dict.fromkeys(name for values in columns.values() for name in values)
    return [
        ["layer", *columns],
        *(
            [name, *(f"{v[name]:.2f}" if name in v else "" for v in columns.values())]
            for name in names
        ),
    ]


def update(path: Path, text: str) -> None:
    before, _, rest = path.read_text().partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{path}: expected the lines {BEGIN!r} and {END!r}")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def plot(reports: list[Report], folder: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    ratios = {label: values for r in reports for label, values in r.columns.items()}
    for name, label, lines in (
        ("ratios", "time of torch, or another, / ours", ratios),
        ("roofline", "shortest possible time / ours", {r.label: r.rooflines for r in reports}),
    ):
        figure, axes = plt.subplots(figsize=(9, 11))
        layers = list(dict.fromkeys(layer for values in lines.values() for layer in values))[::-1]
        positions = {layer: i for i, layer in enumerate(layers)}
        for line, values in lines.items():
            axes.plot(list(values.values()), [positions[y] for y in values], "o", label=line)
        axes.axvline(1, color="gray", linewidth=1)
        axes.set(xscale="log", xlabel=label, yticks=range(len(layers)), yticklabels=layers)
        axes.grid(alpha=0.3)
        axes.legend()
        figure.tight_layout()
        figure.savefig(folder / f"{name}.png", dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("reports", nargs="+", type=Path, help="JSON files of benchmarks.run")
    parser.add_argument("--update", type=Path, help="a Markdown file with the two markers")
    parser.add_argument("--plots", type=Path, help="a folder for the plots")
    args = parser.parse_args()
    reports = [load_report(path) for path in args.reports]
    text = markdown(reports)
    if args.update:
        update(args.update, text)
    else:
        print(text)
    if args.plots:
        plot([r for r in reports if r.rooflines and not r.drawn], args.plots)


if __name__ == "__main__":
    main()
