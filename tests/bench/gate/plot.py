#!/usr/bin/env python3
"""Draws what gate_bench --json printed: share of trials confirmed and labels needed against the true difference.

usage: gate_bench --json > gate.json && tests/bench/gate/plot.py gate.json > gate.svg
"""
import itertools
import json
import math
import sys

DELAYS = {0: "#1f77b4", 10: "#ff7f0e", 200: "#2ca02c"}
COURSES = ["independent", "correlated", "both learn", "better first"]
WIDTH, HEIGHT, LEFT, TOP, GAP_X, GAP_Y = 250, 170, 64, 64, 40, 66


def places(rows):
    return sorted({row["difference"] for row in rows})


def x_of(differences, difference):
    return differences.index(difference) * WIDTH / (len(differences) - 1)


def line(points, color, dash=""):
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" fill="{color}"/>' for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.6" stroke-dasharray="{dash}"/>{dots}'


def frame(title, differences, ticks):
    out = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#888"/>',
           f'<text x="{WIDTH / 2}" y="-8" text-anchor="middle" font-weight="bold">{title}</text>']
    for difference in differences:
        x = x_of(differences, difference)
        out.append(f'<text x="{x:.1f}" y="{HEIGHT + 14}" text-anchor="middle">{100 * difference:+.0f}</text>')
    for y, label in ticks:
        out.append(f'<line x1="0" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
                   f'<text x="-6" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    return "".join(out)


def panel(rows, title, differences, kind):
    if kind == "share":
        ticks = [(HEIGHT * (1 - p / 100), f"{p} %") for p in (0, 50, 100)]
    else:
        ticks = [(HEIGHT * (1 - (d - 2) / 2.4), f"{10 ** d:,.0f}") for d in (2, 3, 4)]
    out = [frame(title, differences, ticks)]
    for delay, color in DELAYS.items():
        of = sorted((r for r in rows if r["delay"] == delay), key=lambda r: r["difference"])
        at = lambda r: x_of(differences, r["difference"])
        if kind == "share":
            out.append(line([(at(r), HEIGHT * (1 - r["confirmed"] / r["runs"])) for r in of], color))
            out.append(line([(at(r), HEIGHT * (1 - r["fell_back"] / r["runs"])) for r in of], color, "4 3"))
        else:
            # Only where half of the trials were decided; a line does not bridge a gap.
            decided = lambda r: "labels_median" in r and r["undecided"] * 2 <= r["runs"]
            for shown, run in itertools.groupby(of, decided):
                if shown:
                    y = lambda r: HEIGHT * (1 - (math.log10(r["labels_median"]) - 2) / 2.4)
                    out.append(line([(at(r), y(r)) for r in run], color))
    return "".join(out)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    rows = [json.loads(text) for text in open(sys.argv[1], encoding="utf-8")]
    rows = [row for row in rows if not row["restarts"]]
    differences = places(rows)
    width = LEFT + len(COURSES) * (WIDTH + GAP_X)
    height = TOP + 4 * (HEIGHT + GAP_Y)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
           f'font-size="11"><rect width="{width}" height="{height}" fill="white"/>',
           '<text x="12" y="20" font-size="15" font-weight="bold">Health gate: verdicts and labels needed, against '
           'the true difference of the losses in %</text>',
           '<text x="12" y="38">solid: confirmed, dashed: fell back (the rest met the deadline). '
           'Margin 5 %. Labels late by: '
           + "".join(f'<tspan fill="{c}" font-weight="bold" dx="8">{d}</tspan>' for d, c in DELAYS.items()) + "</text>"]
    for line_number, (loss, kind) in enumerate([(l, k) for l in ("absolute", "errors") for k in ("share", "labels")]):
        for column, course in enumerate(COURSES):
            of = [r for r in rows if r["loss"] == loss and r["course"] == course]
            what = "verdicts" if kind == "share" else "labels, median"
            x, y = LEFT + column * (WIDTH + GAP_X), TOP + 12 + line_number * (HEIGHT + GAP_Y)
            out.append(f'<g transform="translate({x},{y})">{panel(of, f"{loss}, {course}: {what}", differences, kind)}</g>')
    print("".join(out) + "</svg>")


if __name__ == "__main__":
    main()
