"""Draw the plot as SVG, light and dark: bars for lives and payments a second and latency, a line for growth."""

import math
from collections.abc import Mapping
from typing import Any

from bench.ratios import Medians, most_connections

_WIDTH = 860
_LEFT = 210
_RIGHT = 90
_BAR = 18
_STEP = 26
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#24292f}.h{font-weight:600;font-size:15px}.ours{fill:#1a7f37}"
    ".other{fill:#8c959f}.limit{fill:#d0d7de}.axis{stroke:#8c959f;fill:none}.line{stroke:#1a7f37;fill:none;stroke-width:2}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.limit{fill:#424a53}.other{fill:#768390}.ours{fill:#3fb950}"
    ".line{stroke:#3fb950}}"
)


def draw(figures: Medians, growth: dict[str, Any], titles: Mapping[str, str]) -> str:
    """Return the plot as an SVG document."""
    users, connections = most_connections(figures, "life"), most_connections(figures, "settled")
    lives = _values(figures, f"life_{users}.per_second")
    rates = _values(figures, f"settled_{connections}.per_second") | _values(figures, "settled_32.per_second")
    waits = _values(figures, "notice_to_commit_quiet.p50_ms")
    parts: list[str] = []
    top = 0
    for title, values, shape, most in (
        (f"Whole lives of orders a second, {users} users", lives, "{:,.0f}", True),
        (f"Payments settled a second, {connections} connections", rates, "{:,.0f}", True),
        ("Notice to commit at 20 a second, p50 in ms", waits, "{:.1f} ms", False),
    ):
        if values:
            more, top = _bars(title, values, titles, top + 30, shape, most=most)
            parts += more
    if growth.get("orders"):
        more, top = _line([(row["orders"], row["per_second"]) for row in growth["orders"]], top + 30)
        parts += more
    height = top + 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
        f' role="img" aria-label="Whole lives of orders and payments settled a second, and how long a notice takes">'
        f"<style>{_STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _values(figures: Medians, path: str) -> dict[str, float]:
    return {name: paths[path].median for name, paths in figures.items() if path in paths}


def _bars(
    title: str, values: dict[str, float], titles: Mapping[str, str], top: int, shape: str, *, most: bool
) -> tuple[list[str], int]:
    """Return horizontal bars from zero, with the best on top, and the y at which the drawing may continue."""
    parts, top = [f'<text class="h" x="0" y="{top}">{title}</text>'], top + 14
    longest = max(values.values(), default=1.0)
    for name, value in sorted(values.items(), key=lambda item: item[1], reverse=most):
        width = max(1.0, value / longest * (_WIDTH - _LEFT - _RIGHT))
        kind = "ours" if name == "ours" else "limit" if name.startswith("pgbench") else "other"
        parts += [
            f'<text x="{_LEFT - 8}" y="{top + 14}" text-anchor="end">{titles[name]}</text>',
            f'<rect class="{kind}" x="{_LEFT}" y="{top}" width="{width:.1f}" height="{_BAR}" rx="2"/>',
            f'<text x="{_LEFT + width + 6:.1f}" y="{top + 14}">{shape.format(value)}</text>',
        ]
        top += _STEP
    return parts, top


def _line(points: list[tuple[int, float]], top: int) -> tuple[list[str], int]:
    """Return a line of payments a second by orders in the table, whose axis is logarithmic, and the next y."""
    height, width = 120, _WIDTH - _LEFT - _RIGHT
    most = max(rate for _, rate in points)
    first, last = math.log10(points[0][0]), math.log10(points[-1][0])
    places = [
        (
            _LEFT + (math.log10(orders) - first) / ((last - first) or 1) * width,
            top + 40 + height * (1 - rate / most),
            rate,
        )
        for orders, rate in points
    ]
    bottom = top + 40 + height
    parts = [
        f'<text class="h" x="0" y="{top}">Payments settled a second as the orders in the table grow</text>',
        f'<path class="axis" d="M{_LEFT} {bottom}H{_LEFT + width}"/>',
        '<path class="line" d="M' + " L".join(f"{x:.1f} {y:.1f}" for x, y, _ in places) + '"/>',
    ]
    for (orders, _), (x, y, rate) in zip(points, places, strict=True):
        parts += [
            f'<circle class="ours" cx="{x:.1f}" cy="{y:.1f}" r="4"/>',
            f'<text x="{x:.1f}" y="{y - 10:.1f}" text-anchor="middle">{rate:,.0f}</text>',
            f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{orders:,}</text>',
        ]
    return parts, bottom + 24
