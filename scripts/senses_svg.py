#!/usr/bin/env python3
"""Draws the occurrences that `minibert senses --points FILE` wrote: a panel a word, a colour a sense, and a cross where the one
static vector, the mean of all occurrences, would be. With the result of that command the legend tells each sense's typical words.
Hovering over a point shows its text.

    minibert senses --model DIR --corpus corpus.txt --points senses.tsv port shell > senses.json
    scripts/senses_svg.py senses.tsv senses.svg senses.json
"""
import html
import json
import re
import sys
import zlib

# Okabe & Ito's colours, told apart by the colour-blind too; each with a shape of its own for print without colour.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999"]
SHAPES = ["circle", "square", "triangle", "diamond"]
COLUMNS, PANEL, GAP, MARGIN, LINE = 3, 330, 36, 28, 15
LEGEND_FONT = 10.5
LETTERS = int((PANEL - 20) / (0.55 * LEGEND_FONT))  # of a legend's line


def read(path):
    """{word: [(sense, x, y, text)]}, in the order of the file."""
    words = {}
    with open(path, encoding="utf-8", errors="replace") as file:
        if next(file, "").rstrip("\n") != "word\tsense\tx\ty\ttext":
            sys.exit(f"'{path}' is not what minibert senses --points writes")
        for line in file:
            word, sense, x, y, text = line.rstrip("\n").split("\t", 4)
            words.setdefault(word, []).append((int(sense), float(x), float(y), text))
    return words


def read_typical(path):
    """{(word, sense): its typical words}"""
    with open(path, encoding="utf-8") as file:
        return {(item["word"], 1 + i): sense["words"] for item in json.load(file) for i, sense in enumerate(item["senses"])}


def excerpt(word, text):
    """(before, word, after): so much of the text around the word as a line of the legend holds."""
    whole, any_part = rf"\b{re.escape(word)}\b", re.escape(word)
    matches = [m for pattern in (whole, any_part) for m in re.finditer(pattern, text, re.IGNORECASE)]
    if not matches:
        return text[:LETTERS - 1] + "…" * (len(text) > LETTERS), "", ""
    match = min(matches, key=lambda m: abs(m.start() + m.end() - len(text)))  # the text was cut around it; whole words come first
    left = LETTERS - len(match.group()) - 2
    before, after = text[:match.start()].lstrip(), text[match.end():].rstrip()
    room = max(left // 2, left - len(after))
    if len(before) > room:
        before = "…" + before[len(before) - room:].partition(" ")[2]
    room = left - len(before)
    if len(after) > room:
        after = after[:room].rpartition(" ")[0] + "…"
    return before, match.group(), after


def example(word, points, sense):
    """Of the texts nearest to the middle of a sense the one that says most: the longest."""
    own = [p for p in points if p[0] == sense]
    x, y = (sum(p[i] for p in own) / len(own) for i in (1, 2))
    near = sorted(own, key=lambda p: (p[1] - x) ** 2 + (p[2] - y) ** 2)[:5]
    return excerpt(word, max(near, key=lambda p: len(p[3]))[3])


def mark(sense, x, y, size, title=""):
    shape, colour = SHAPES[(sense - 1) % len(SHAPES)], COLOURS[(sense - 1) % len(COLOURS)]
    style = f'fill="{colour}" fill-opacity="0.65" stroke="#fff" stroke-width="0.5"'
    body = f"<title>{html.escape(title)}</title>" if title else ""
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}" {style}>{body}</circle>'
    path = {"square": f"M{x - size:.1f} {y - size:.1f}h{2 * size}v{2 * size}h{-2 * size}z",
            "triangle": f"M{x:.1f} {y - 1.2 * size:.1f}l{1.2 * size:.1f} {2.1 * size:.1f}h{-2.4 * size:.1f}z",
            "diamond": f"M{x:.1f} {y - 1.3 * size:.1f}l{1.3 * size:.1f} {1.3 * size:.1f}l{-1.3 * size:.1f} {1.3 * size:.1f}"
                       f"l{-1.3 * size:.1f} {-1.3 * size:.1f}z"}[shape]
    return f'<path d="{path}" {style}>{body}</path>'


def cross(x, y):
    path = f"M{x - 7:.1f} {y:.1f}h14M{x:.1f} {y - 7:.1f}v14"
    return f'<path d="{path}" stroke="#fff" stroke-width="5"/><path d="{path}" stroke="#000" stroke-width="2"/>'


def line(x, y, text, size=LEGEND_FONT, style=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" {style}>{text}</text>'


def legend(word, points, typical, left, top):
    for row, sense in enumerate(sorted({p[0] for p in points})):
        y = top + row * (2 * LINE + 7)
        share = sum(p[0] == sense for p in points) / len(points)
        words = ", ".join(typical.get((word, sense), []))
        words = words if len(words) <= LETTERS - 6 else words[:LETTERS - 6].rpartition(",")[0]
        before, here, after = map(html.escape, example(word, points, sense))
        yield mark(sense, left + 5, y - 4, 4.5)
        yield line(left + 18, y, f'<tspan font-weight="bold">{100 * share:.0f}%</tspan> '
                                 f'<tspan font-style="italic">{html.escape(words)}</tspan>')
        yield line(left + 18, y + LINE, f'{before}<tspan font-weight="bold">{here}</tspan>{after}', style='fill="#555"')


def panel(word, points, typical, left, top):
    xs, ys = [p[1] for p in points] + [0], [p[2] for p in points] + [0]
    reach = max(max(xs) - min(xs), max(ys) - min(ys)) or 1  # one scale for both axes
    scale, middle = (PANEL - 24) / reach, ((max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2)

    def at(x, y):
        return left + PANEL / 2 + scale * (x - middle[0]), top + PANEL / 2 - scale * (y - middle[1])
    yield line(left, top - 9, f'<tspan font-weight="bold">{html.escape(word)}</tspan>', 15)
    yield line(left + PANEL, top - 9, f"{len(points)} occurrences", 11, 'text-anchor="end" fill="#555"')
    yield f'<rect x="{left}" y="{top}" width="{PANEL}" height="{PANEL}" fill="none" stroke="#bbb"/>'
    for sense, x, y, text in sorted(points, key=lambda p: zlib.crc32(p[3].encode())):  # no sense lies on top
        yield mark(sense, *at(x, y), 3, text)
    yield cross(*at(0, 0))
    yield from legend(word, points, typical, left, top + PANEL + 22)


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    words = read(sys.argv[1])
    if not words:
        sys.exit(f"'{sys.argv[1]}' has no occurrences")
    typical = read_typical(sys.argv[3]) if len(sys.argv) == 4 else {}
    items = list(words.items())
    n_rows = -(-len(items) // COLUMNS)
    columns = -(-len(items) // n_rows)
    rows = [items[i:i + columns] for i in range(0, len(items), columns)]
    body, top = [], MARGIN + 14
    for row in rows:
        for i, (word, points) in enumerate(row):
            body += panel(word, points, typical, MARGIN + i * (PANEL + GAP), top)
        top += PANEL + 22 + max(len({p[0] for p in points}) for _, points in row) * (2 * LINE + 7) + 38
    width = columns * (PANEL + GAP) - GAP + 2 * MARGIN
    note = "A point is an occurrence, by the first two principal components of its contextual vectors;"
    body += [cross(MARGIN + 7, top - 17), line(MARGIN + 22, top - 13, "the mean of all: where a word's one static vector is.", 11),
             line(MARGIN, top - 31, note, 11)]
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" viewBox="0 0 {width} {top}" '
              'font-family="Helvetica, Arial, sans-serif">', file=out)
        print('<rect width="100%" height="100%" fill="#fff"/>', *body, "</svg>", sep="\n", file=out)


main()
