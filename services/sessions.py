"""How our sessions with PostgreSQL notice that its host is gone."""

from typing import Any

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
