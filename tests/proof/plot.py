"""A picture of a soak: one panel for each kind of thing, one line for each process. Plain SVG."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

from tests.proof.slopes import Series, steady

WIDTH, PANEL, LEFT, RIGHT, TOP, GAP = 900, 170, 70, 170, 40, 46
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f")
UNITS = {"memory": "memory, MiB", "files": "open files", "connections": "connections", "lag": "lag, events"}
POINTS_MAX = 400


def svg(title: str, times: Sequence[float], series: Sequence[Series]) -> str:
    """All of it in one document; the grey part is the warm-up, which no slope counts."""
    kinds = [kind for kind in UNITS if any(one.kind == kind for one in series)]
    height = TOP + len(kinds) * (PANEL + GAP)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="12"><rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="15">{escape(title)}</text>',
    ]
    for number, kind in enumerate(kinds):
        own = [one for one in series if one.kind == kind]
        lines += _panel(TOP + number * (PANEL + GAP), UNITS[kind], times, own)
    return "\n".join([*lines, "</svg>", ""])


def _panel(top: float, unit: str, times: Sequence[float], series: Sequence[Series]) -> list[str]:
    span, most = times[-1] - times[0] or 1.0, max(max(one.values) for one in series) * 1.1 or 1.0
    wide = WIDTH - LEFT - RIGHT
    bottom = top + 18 + PANEL - 18

    def place(at: float, value: float) -> str:
        return f"{LEFT + (at - times[0]) / span * wide:.1f},{bottom - value / most * (PANEL - 18):.1f}"

    warm = (times[steady(times)] - times[0]) / span * wide
    lines = [
        f'<text x="{LEFT}" y="{top + 12}">{unit}</text>',
        f'<rect x="{LEFT}" y="{top + 18}" width="{warm:.1f}" height="{PANEL - 18}" fill="#eeeeee"/>',
        f'<path d="M{LEFT} {top + 18}V{bottom}H{LEFT + wide}" fill="none" stroke="#444444"/>',
        f'<text x="{LEFT - 6}" y="{top + 28}" text-anchor="end">{most:,.0f}</text>',
        f'<text x="{LEFT - 6}" y="{bottom}" text-anchor="end">0</text>',
        f'<text x="{LEFT + wide}" y="{bottom + 15}" text-anchor="end">{span / 60:.0f} min</text>',
    ]
    step = max(1, len(times) // POINTS_MAX)
    for number, one in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(place(*point) for point in list(zip(times, one.values, strict=True))[::step])
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        y = top + 28 + number * 16
        lines.append(f'<text x="{LEFT + wide + 12}" y="{y}" fill="{colour}">{escape(one.process)}</text>')
    return lines
