"""Draw what drrun printed as SVG, for the README: no fonts, no links, no script in it.

drrun restore-cluster … --dry-run | python docs/pictures/make.py "title" > docs/pictures/x.svg
"""

from __future__ import annotations

import sys
import unicodedata
from html import escape

CHAR, LINE, PAD, TOP = 7.6, 18, 16, 40
COLOURS = {"✔": "#7ee787", "✘": "#ff7b72", "!": "#ff7b72", "?": "#d2a8ff", "error": "#ff7b72"}
PLAIN, DIM, GROUND, BAR = "#e6edf3", "#8b949e", "#0d1117", "#161b22"


def width(text: str) -> int:
    """Columns that a terminal gives it."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def colour(line: str) -> str:
    """By the mark that a line begins with; what is set in is dimmed."""
    word = line.strip().split(" ", 1)[0] if line.strip() else ""
    if word in COLOURS:
        return COLOURS[word]
    return DIM if line.startswith("       ") else PLAIN


def drawn(title: str, lines: list[str]) -> str:
    """The picture."""
    wide = max([width(line) for line in lines] + [60]) * CHAR + 2 * PAD
    high = TOP + len(lines) * LINE + PAD
    rows = [
        f'<text x="{PAD}" y="{TOP + (n + 1) * LINE - 5}" fill="{colour(line)}" '
        f'xml:space="preserve">{escape(line)}</text>'
        for n, line in enumerate(lines)
        if line.strip()
    ]
    dots = "".join(
        f'<circle cx="{PAD + 4 + 18 * n}" cy="14" r="5" fill="{c}"/>'
        for n, c in enumerate(("#ff5f56", "#ffbd2e", "#27c93f"))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:.0f}" height="{high}" '
        f'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="12.5">'
        f'<rect width="100%" height="100%" rx="8" fill="{GROUND}"/>'
        f'<path d="M0 28V8a8 8 0 0 1 8-8h{wide - 16:.0f}a8 8 0 0 1 8 8v20z" fill="{BAR}"/>{dots}'
        f'<text x="{wide / 2:.0f}" y="18" fill="{DIM}" text-anchor="middle">{escape(title)}</text>'
        + "".join(rows)
        + "</svg>\n"
    )


if __name__ == "__main__":
    text = sys.stdin.read().rstrip().expandtabs(4)
    sys.stdout.write(drawn(sys.argv[1], text.splitlines()))
