"""Old stored forms made new, on reading only: stored bytes never change.

An upcaster is a pure `dict -> dict` named `<type>_v1_to_v2`; a golden file of the old form is kept for good.
None is needed yet: every type is at its first version.
"""

from collections.abc import Callable
from typing import Any

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

UPCASTERS: dict[str, tuple[str, Upcaster]] = {}
"""Old type -> (next type, how)."""


def newest(name: str) -> str:
    """The type as which events of this one are read."""
    while name in UPCASTERS:
        name, _ = UPCASTERS[name]
    return name


def upcast(name: str, data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Follow the chain of upcasters from `name` to the newest type."""
    while name in UPCASTERS:
        name, step = UPCASTERS[name]
        data = step(data)
    return name, data
