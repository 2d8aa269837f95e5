"""How much a counter went up."""

import contextlib
from collections.abc import Callable, Iterator

from prometheus_client import REGISTRY


@contextlib.contextmanager
def tallied(name: str, **labels: str) -> Iterator[Callable[[], float]]:
    """By how much the sample is above what it was."""

    def value() -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    before = value()
    yield lambda: value() - before
