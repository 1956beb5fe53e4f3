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


@dataclass(frozen=True)
class Report:
    """One run: ratios by peer, and fractions of the roofline."""

    conditions: dict[str, Any]
    ratios: dict[str, Values]
    rooflines: Values

    @property
    def label(self) -> str:
        c = self.conditions
        words = [c["mode"], c["dtype"]]
        if c["layout"] != "ncl":
            words.append(c["layout"])
        if c["device"] == "cpu":
            words.append(c["isa"])
        threads = "" if c["threads"] == 1 else f", {c['threads']} threads"
        return " ".join(words) + threads

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
    rows = {row["workload"]["name"]: row for row in report["rows"]}
    wrong = [name for name, row in rows.items() if row["timing"] is None]
    if wrong:
        raise SystemExit(f"{path}: wrong results for {', '.join(wrong)}")
    ratios: dict[str, Values] = {}
    for name, row in rows.items():
        for peer, time in row["timing"]["peers"].items():
            ratios.setdefault(peer, {})[name] = time["ratio"]
    rooflines = {name: row["roofline"] for name, row in rows.items()}
    return Report(report["conditions"], ratios, rooflines)


def markdown(reports: list[Report]) -> str:
    columns = {label: values for r in reports for label, values in r.columns.items()}
    return "\n".join(
        [
            *(f"Measured on {machine}." for machine in dict.fromkeys(r.machine for r in reports)),
            "",
            *summary_table(columns),
            "",
            *roofline_table(reports),
            "",
            "<details><summary>Every layer: time of torch, or another, / ours</summary>",
            "",
            *layer_table(columns),
            "",
            "</details>",
        ]
    )


def summary_table(columns: dict[str, Values]) -> list[str]:
    lines = [
        "| time of torch, or another, / ours | geometric mean | smallest | largest | below 1 |",
        "|---|---:|---:|---:|---:|",
    ]
    for label, values in columns.items():
        ratios = values.values()
        slower = sum(ratio < 1 for ratio in ratios)
        lines.append(
            f"| {label} | {statistics.geometric_mean(ratios):.2f} | {min(ratios):.2f} "
            f"| {max(ratios):.1f} | {slower} of {len(ratios)} |"
        )
    return lines


def roofline_table(reports: list[Report]) -> list[str]:
    lines = [
        "| shortest possible time / ours | geometric mean | smallest | peak | bandwidth |",
        "|---|---:|---:|---:|---:|",
    ]
    for r in reports:
        fractions = r.rooflines.values()
        lines.append(
            f"| {r.label} | {statistics.geometric_mean(fractions):.2f} | {min(fractions):.2f} "
            f"| {r.conditions['peak_gflops']:.0f} GFLOP/s "
            f"| {r.conditions['bandwidth_gb']:.0f} GB/s |"
        )
    return lines


def layer_table(columns: dict[str, Values]) -> list[str]:
    names = dict.fromkeys(name for values in columns.values() for name in values)
    lines = ["| layer | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for name in names:
        cells = (f"{v[name]:.2f}" if name in v else "" for v in columns.values())
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


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
        plot(reports, args.plots)


if __name__ == "__main__":
    main()
