"""Draw what drrun printed as SVG, for the README: no fonts, no links, no script in it.

Each NAME.txt beside this file is real output of the demo, as it was captured; its first line is the
command. This draws NAME.svg from it: `make docs`. Long lines are cut, and of a step's details the
first two stay; both show as `…`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path

CHAR, LINE, PAD, TOP = 7.6, 18, 16, 40
COLOURS = {"✔": "#7ee787", "✘": "#ff7b72", "!": "#ff7b72", "?": "#d2a8ff", "error": "#ff7b72"}
WIDEST, DETAILS, DETAIL = 112, 2, " " * 7
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


def folded(lines: Iterable[str]) -> Iterator[str]:
    """The lines that fit into a picture."""
    details = 0
    for line in lines:
        if "? checked at run" in line:
            continue
        details = details + 1 if line.startswith(DETAIL) else 0
        if details == DETAILS + 1:
            yield f"{DETAIL}…"
        elif details <= DETAILS:
            yield line if len(line) <= WIDEST else line[: WIDEST - 1] + "…"


def main() -> None:
    """Draw every picture again."""
    for path in sorted(Path(__file__).parent.glob("*.txt")):
        title, *lines = path.read_text(encoding="utf-8").rstrip().expandtabs(4).splitlines()
        path.with_suffix(".svg").write_text(drawn(title, list(folded(lines))), encoding="utf-8")


if __name__ == "__main__":
    main()
