"""Turns the JSON files of benchmarks.run into Markdown and plots.

python -m benchmarks.report results/*.json                      prints the tables
python -m benchmarks.report results/*.json --update README.md   between the markers in that file
python -m benchmarks.report results/*.json --plots docs         writes ratios.png and roofline.png
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


@dataclass(frozen=True)
class Report:
    """One run; ratios and roofline fractions by the name of the layer."""

    conditions: dict[str, Any]
    ratios: dict[str, float]
    rooflines: dict[str, float]

    @property
    def label(self) -> str:
        c = self.conditions
        threads = "" if c["threads"] == 1 else f", {c['threads']} threads"
        return f"{c['mode']} {c['dtype']} {c['isa']}{threads}"

    @property
    def machine(self) -> str:
        c = self.conditions
        variables = "".join(f", {key}={value}" for key, value in c["environment"].items())
        return f"{c['cpu']}, torch {c['torch']}{variables}"


def load_report(path: Path) -> Report:
    report = json.loads(path.read_text())
    rows = {row["workload"]["name"]: row for row in report["rows"]}
    wrong = [name for name, row in rows.items() if row["timing"] is None]
    if wrong:
        raise SystemExit(f"{path}: wrong results for {', '.join(wrong)}")
    return Report(
        conditions=report["conditions"],
        ratios={name: row["timing"]["ratio"] for name, row in rows.items()},
        rooflines={name: row["roofline"] for name, row in rows.items()},
    )


def markdown(reports: list[Report]) -> str:
    return "\n".join(
        [
            *(f"Measured on {machine}." for machine in dict.fromkeys(r.machine for r in reports)),
            "",
            *summary_table(reports),
            "",
            "<details><summary>Every layer: time of torch / ours</summary>",
            "",
            *layer_table(reports),
            "",
            "</details>",
        ]
    )


def summary_table(reports: list[Report]) -> list[str]:
    lines = [
        "| time of torch / ours | geometric mean | smallest | largest | layers slower than torch |",
        "|---|---:|---:|---:|---:|",
    ]
    for r in reports:
        ratios = r.ratios.values()
        slower = sum(ratio < 1 for ratio in ratios)
        lines.append(
            f"| {r.label} | {statistics.geometric_mean(ratios):.2f} | {min(ratios):.2f} "
            f"| {max(ratios):.1f} | {slower} of {len(ratios)} |"
        )
    return lines


def layer_table(reports: list[Report]) -> list[str]:
    names = dict.fromkeys(name for r in reports for name in r.ratios)
    lines = [
        "| layer | " + " | ".join(r.label for r in reports) + " |",
        "|---|" + "---:|" * len(reports),
    ]
    for name in names:
        cells = (f"{r.ratios[name]:.2f}" if name in r.ratios else "" for r in reports)
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

    for name, label, values in (
        ("ratios", "time of torch / ours", [r.ratios for r in reports]),
        ("roofline", "shortest possible time / ours", [r.rooflines for r in reports]),
    ):
        figure, axes = plt.subplots(figsize=(9, 11))
        layers = list(dict.fromkeys(layer for v in values for layer in v))[::-1]
        positions = {layer: i for i, layer in enumerate(layers)}
        for report, v in zip(reports, values, strict=True):
            axes.plot(list(v.values()), [positions[layer] for layer in v], "o", label=report.label)
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
