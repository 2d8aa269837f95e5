"""How far objects and lists may lie in each other: whoever reads them later recurses, from a deeper stack."""

from typing import Any

NESTED_MAX = 64


def may_be_deep(value: bytes) -> bool:
    """Of JSON, before the long look: most has fewer objects and lists than may lie in each other."""
    return value.count(b"{") + value.count(b"[") > NESTED_MAX


def is_deep(whole: Any) -> bool:
    """Level by level, without recursion."""
    level = [whole]
    for _ in range(NESTED_MAX):
        inner = [one for held in level for one in (held.values() if isinstance(held, dict) else held)]
        level = [one for one in inner if isinstance(one, dict | list)]
        if not level:
            return False
    return True
