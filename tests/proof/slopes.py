"""What grows? Robust slopes of samples, and which of them a soak may not have. Pure."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

TEN_MINUTES = 600.0
WARM_UP_SHARE = 1 / 3
"""Of the time, and at most so many seconds: caches fill, pools open, a young program compiles."""
WARM_UP_SECONDS_MAX = 600.0
PAIRS_MAX = 400
"""Samples that are compared in pairs; of more, every n-th."""

MEMORY_PERCENT_MAX = 1.0
COUNT_MAX = 1.0
"""Files or connections more in ten minutes."""
LAG_SECONDS_MAX = 1.0
"""Seconds of load that a lag may gain in ten minutes."""


@dataclass(frozen=True)
class Series:
    """One thing that was looked at again and again. `kind`: memory, files, connections, lag."""

    process: str
    kind: str
    values: tuple[float, ...]
    judged: bool = True

    @property
    def name(self) -> str:
        return f"{self.process} {self.kind}"


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Theil-Sen: the median of the slopes between all pairs; single peaks do not move it."""
    step = max(1, len(times) // PAIRS_MAX)
    points = list(zip(times, values, strict=True))[::step]
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for number, earlier in enumerate(points)
        for later in points[number + 1 :]
    ]
    return statistics.median(slopes) if slopes else 0.0


def steady(times: Sequence[float]) -> int:
    """The first sample after the warm-up."""
    warm = min((times[-1] - times[0]) * WARM_UP_SHARE, WARM_UP_SECONDS_MAX)
    return next(number for number, at in enumerate(times) if at - times[0] >= warm)


def grown(times: Sequence[float], series: Series, per_second: float) -> dict[str, Any]:
    """Its median, what it gains in ten minutes, and whether that is too much."""
    first = steady(times)
    values = series.values[first:]
    median = statistics.median(values)
    gain = slope(times[first:], values) * TEN_MINUTES
    limits = {
        "memory": median * MEMORY_PERCENT_MAX / 100,
        "files": COUNT_MAX,
        "connections": COUNT_MAX,
        "lag": per_second * LAG_SECONDS_MAX,
    }
    return {
        "process": series.process,
        "kind": series.kind,
        "median": round(median, 1),
        "in_ten_minutes": round(gain, 2),
        "percent": round(gain / median * 100, 2) if median else 0.0,
        "judged": series.judged,
        "leaks": series.judged and gain >= limits[series.kind],
    }
