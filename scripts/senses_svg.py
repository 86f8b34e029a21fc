#!/usr/bin/env python3
"""Draws the occurrences that `minibert senses --points FILE` wrote: a panel a word, a colour a sense, and a cross where the one
static vector, the mean of all occurrences, would be. Hovering over a point shows its text.

    scripts/senses_svg.py POINTS.tsv OUT.svg
"""
import html
import sys

COLOURS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f"]
PANEL, MARGIN, LINE = 340, 24, 18
LEGEND_LETTERS = 52


def read(path):
    """{word: [(sense, x, y, text)]}, in the order of the file."""
    words = {}
    with open(path, encoding="utf-8", errors="replace") as file:
        if next(file).rstrip("\n") != "word\tsense\tx\ty\ttext":
            sys.exit(f"'{path}' is not what minibert senses --points writes")
        for line in file:
            word, sense, x, y, text = line.rstrip("\n").split("\t", 4)
            words.setdefault(word, []).append((int(sense), float(x), float(y), text))
    return words


def example(points, sense):
    """The text nearest to the middle of a sense."""
    own = [p for p in points if p[0] == sense]
    x, y = (sum(p[i] for p in own) / len(own) for i in (1, 2))
    text = min(own, key=lambda p: (p[1] - x) ** 2 + (p[2] - y) ** 2)[3]
    return text if len(text) <= LEGEND_LETTERS else text[:LEGEND_LETTERS - 1] + "…"


def panel(word, points, left):
    reach = max(max(abs(p[1]), abs(p[2])) for p in points) or 1
    centre, scale = (left + PANEL / 2, MARGIN + LINE + PANEL / 2), (PANEL / 2 - 8) / reach
    senses = sorted({p[0] for p in points})
    yield f'<text x="{left}" y="{MARGIN}" font-size="15" font-weight="bold">{html.escape(word)}, {len(points)} occurrences</text>'
    yield f'<rect x="{left}" y="{MARGIN + LINE}" width="{PANEL}" height="{PANEL}" fill="none" stroke="#ccc"/>'
    for sense, x, y, text in points:
        yield (f'<circle cx="{centre[0] + scale * x:.1f}" cy="{centre[1] - scale * y:.1f}" r="3" fill-opacity="0.6" '
               f'fill="{COLOURS[(sense - 1) % len(COLOURS)]}"><title>{html.escape(text)}</title></circle>')
    yield f'<path d="M{centre[0] - 6} {centre[1]}h12M{centre[0]} {centre[1] - 6}v12" stroke="#000" stroke-width="2"/>'
    for row, sense in enumerate(senses):
        y = MARGIN + LINE + PANEL + LINE * (row + 1)
        share = sum(p[0] == sense for p in points) / len(points)
        yield f'<circle cx="{left + 5}" cy="{y - 4}" r="5" fill="{COLOURS[(sense - 1) % len(COLOURS)]}"/>'
        yield f'<text x="{left + 16}" y="{y}" font-size="11">{100 * share:.0f}%  {html.escape(example(points, sense))}</text>'


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    words = read(sys.argv[1])
    if not words:
        sys.exit(f"'{sys.argv[1]}' has no occurrences")
    n_senses = max(len({p[0] for p in points}) for points in words.values())
    width = len(words) * (PANEL + MARGIN) + MARGIN
    height = MARGIN + LINE + PANEL + LINE * (n_senses + 1) + MARGIN
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">', file=out)
        print('<rect width="100%" height="100%" fill="#fff"/>', file=out)
        for i, (word, points) in enumerate(words.items()):
            for element in panel(word, points, MARGIN + i * (PANEL + MARGIN)):
                print(element, file=out)
        print("</svg>", file=out)


main()
