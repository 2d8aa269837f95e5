"""What sessions with PostgreSQL of all services have in common."""

from collections.abc import Sequence
from typing import Any

CHANNEL = "ledger_positions"
"""Where the projector announces what it applied, and the api listens."""

KEEPALIVES: dict[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
    "connect_timeout": 5,
}
"""Options of libpq, in seconds and milliseconds. Time-outs of statements do not help: the server keeps them, and it is the
server that is gone. Without these an idle connection that was cut silently blocks its next user for 15 minutes."""


def columns(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    """Rows as parameters of an `unnest`: one statement, however many rows."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
