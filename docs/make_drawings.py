"""Draw docs/drawings/*.svg from their text sources: `python -m docs.make_drawings`.

A `.mmd` is a sequence diagram in Mermaid's words (`participant`, `->>`, `-->>`, `Note over`). A `.flow` has boxes on a
grid and arrows between them. The drawings need no script and follow the reader's light or dark system.
"""

import re
import unicodedata
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).with_name("drawings")

_STYLE = """\
<style>
  .card { fill: #ffffff; stroke: #d5d9e0 } .under { fill: #ffffff } .life { stroke: #b6bcc7 }
  .box { fill: #eef3fb; stroke: #3b66a6 } .store { fill: #f3eefb; stroke: #6b4fa0 }
  .note { fill: #fdf6dc; stroke: #b59a3d } .line { stroke: #4b5563; fill: none } .head { fill: #4b5563 }
  text { fill: #1f2733; font: 14px system-ui, "Apple SD Gothic Neo", "Noto Sans KR", sans-serif; text-anchor: middle }
  @media (prefers-color-scheme: dark) {
    .card { fill: #171b22; stroke: #333b47 } .under { fill: #171b22 } .life { stroke: #4a5361 }
    .box { fill: #1d2c44; stroke: #7fa8e6 } .store { fill: #2b2342; stroke: #b39be8 }
    .note { fill: #3a341c; stroke: #c9b25c } .line { stroke: #a8b0bd } .head { fill: #a8b0bd }
    text { fill: #e6e9ee }
  }
</style>
<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">
  <path class="head" d="M0 0 10 5 0 10z"/></marker></defs>
"""
_LETTER, _WIDE_LETTER = 7.4, 14.2
_MARGIN, _PAD = 24, 14


class Box(NamedTuple):
    """A box of a flow: its middle, its half width and height, and whether it is a database."""

    x: float
    y: float
    half_width: float
    half_height: float
    text: str
    is_store: bool


def draw(source: Path) -> str:
    """Return the drawing of a source as SVG."""
    text = source.read_text("utf-8")
    return (_flow if source.suffix == ".flow" else _sequence)(text)


def drawings() -> dict[Path, str]:
    """Return the right content of every drawing."""
    sources = sorted([*FOLDER.glob("*.mmd"), *FOLDER.glob("*.flow")])
    return {source.with_suffix(".svg"): draw(source) for source in sources}


def _flow(text: str) -> str:
    grid = re.findall(r"^(box|store) (\w+) (\d+) (\d+) (.+)$", text, re.MULTILINE)
    arrows = re.findall(r"^arrow (\w+) (\w+) ?(.*)$", text, re.MULTILINE)
    half_width = max(_width(words) for *_, words in grid) / 2 + _PAD
    rows = {name: row for _, name, _, row, _ in grid}
    # A level arrow needs room for all of its words, another one for some.
    room = [_width(words) + 48 if rows[start] == rows[end] else 0.62 * _width(words) for start, end, words in arrows]
    step_x, step_y = 2 * half_width + max(60, *room), 92
    boxes = {
        name: Box(
            _MARGIN + half_width + int(column) * step_x, _MARGIN + 23 + int(row) * step_y, half_width, 23, words,
            kind == "store",
        )
        for kind, name, column, row, words in grid
    }  # fmt: skip
    parts = [_arrow(boxes[start], boxes[end]) for start, end, _ in arrows]
    parts += [_label(*_middle(boxes[start], boxes[end]), words) for start, end, words in arrows if words]
    parts += [_box(box) for box in boxes.values()]
    width = max(box.x for box in boxes.values()) + half_width + _MARGIN
    return _svg(width, max(box.y for box in boxes.values()) + 23 + _MARGIN, parts)


def _box(box: Box) -> str:
    kind, radius = ("store", 20) if box.is_store else ("box", 6)
    corner = f'x="{box.x - box.half_width:.0f}" y="{box.y - box.half_height:.0f}"'
    size = f'width="{2 * box.half_width:.0f}" height="{2 * box.half_height:.0f}"'
    return f'<rect class="{kind}" {corner} {size} rx="{radius}"/>' + _text(box.x, box.y + 5, box.text)


def _edge(start: Box, end: Box) -> tuple[float, float]:
    """Return the point where the line from one box's middle to the other's leaves the first."""
    dx, dy = end.x - start.x, end.y - start.y
    share = min(
        start.half_width / abs(dx) if dx else float("inf"),
        start.half_height / abs(dy) if dy else float("inf"),
    )
    return start.x + dx * share, start.y + dy * share


def _middle(start: Box, end: Box) -> tuple[float, float]:
    (x1, y1), (x2, y2) = _edge(start, end), _edge(end, start)
    return (x1 + x2) / 2, (y1 + y2) / 2


def _arrow(start: Box, end: Box) -> str:
    (x1, y1), (x2, y2) = _edge(start, end), _edge(end, start)
    return f'<path class="line" d="M{x1:.0f} {y1:.0f} {x2:.0f} {y2:.0f}" marker-end="url(#head)"/>'


def _label(x: float, y: float, words: str) -> str:
    half = _width(words) / 2 + 3
    under = f'<rect class="under" x="{x - half:.0f}" y="{y - 11:.0f}" width="{2 * half:.0f}" height="20" rx="4"/>'
    return under + _text(x, y + 4, words)


def _sequence(text: str) -> str:
    names = dict(re.findall(r"^ +participant (\w+) as (.+)$", text, re.MULTILINE))
    columns = list(names)
    steps = list(_steps(text))
    needed = [
        _width(words) + 44 for _, start, end, words in steps if abs(columns.index(start) - columns.index(end)) == 1
    ]
    step_x = max([*needed, *(_width(name) + 2 * _PAD + 20 for name in names.values())])
    x = {key: _MARGIN + 80 + number * step_x for number, key in enumerate(columns)}
    bottom = _MARGIN + 46 + 40 * len(steps) + 12
    parts = [f'<path class="life" d="M{at:.0f} {_MARGIN + 40} {at:.0f} {bottom}"/>' for at in x.values()]
    parts += [
        _step(kind, x[start], x[end], _MARGIN + 74 + 40 * n, words) for n, (kind, start, end, words) in enumerate(steps)
    ]
    parts += [_box(Box(x[key], _MARGIN + 20, _width(name) / 2 + _PAD, 20, name, False)) for key, name in names.items()]
    return _svg(x[columns[-1]] + 80 + _MARGIN, bottom + _MARGIN, parts)


def _steps(text: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield each message and note: its kind, where it begins and ends, and its words."""
    for line in text.splitlines():
        if message := re.match(r" +(\w+)(-?->>)(\w+): (.+)$", line):
            yield "answer" if message[2] == "-->>" else "call", message[1], message[3], message[4]
        elif note := re.match(r" +Note over (\w+)(?:,(\w+))?: (.+)$", line):
            yield "note", note[1], note[2] or note[1], note[3]


def _step(kind: str, start: float, end: float, y: float, words: str) -> str:
    middle = (start + end) / 2
    if kind == "note":
        half = max(_width(words) / 2 + 10, (end - start) / 2 + 10)
        size = f'x="{middle - half:.0f}" y="{y - 24:.0f}" width="{2 * half:.0f}" height="30"'
        return f'<rect class="note" {size} rx="3"/>' + _text(middle, y - 4, words)
    dashes = ' stroke-dasharray="5 4"' if kind == "answer" else ""
    line = f'<path class="line" d="M{start:.0f} {y:.0f} {end:.0f} {y:.0f}" marker-end="url(#head)"{dashes}/>'
    return line + _label(middle, y - 10, words)


def _svg(width: float, height: float, parts: list[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}">'
    card = f'<rect class="card" x="1" y="1" width="{width - 2:.0f}" height="{height - 2:.0f}" rx="10"/>'
    return "\n".join([head, _STYLE + card, *parts, "</svg>\n"])


def _text(x: float, y: float, words: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}">{escape(words, quote=False)}</text>'


def _width(words: str) -> float:
    """Estimate a text's width in pixels: a Korean letter is as wide as two Latin ones."""
    return sum(_WIDE_LETTER if unicodedata.east_asian_width(letter) in "WF" else _LETTER for letter in words)


if __name__ == "__main__":
    for path, svg in drawings().items():
        path.write_text(svg, "utf-8")
