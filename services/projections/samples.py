"""PostgreSQL keeps samples of columns for its planner: those of somebody erased go with the next ANALYZE."""

import asyncio

import psycopg
import structlog
from psycopg.errors import Diagnostic

from services.projections.tables import READ_MODELS
from services.sessions import KEEPALIVES

log = structlog.get_logger()

LOOK_SECONDS = 600.0
LATE = "1 hour"
"""An erasure may be older than its rows by what the projections were behind."""
TABLES = [table.name for table in READ_MODELS]
DUE = """
    SELECT EXISTS (
        SELECT FROM customers WHERE erased_at > (
            SELECT coalesce(min(greatest(last_analyze, last_autoanalyze)), '-infinity') - %s::interval
            FROM pg_stat_user_tables WHERE schemaname = 'public' AND relname = ANY(%s)
        )
    )
"""


async def renew_forever(dsn: str) -> None:
    """Beside the work: it only ever costs reading."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            await asyncio.to_thread(renew, dsn)
        except psycopg.Error as error:  # it is tried again
            log.warning("samples_not_renewed", error=type(error).__name__)


def renew(dsn: str, late: str = LATE) -> bool:
    """Whether it was due: somebody was erased since the last time, or `late` before it.

    Raises:
        psycopg.Error: the database is away.
    """
    with psycopg.connect(dsn, autocommit=True, **KEEPALIVES) as connection:
        connection.add_notice_handler(_tell)
        due = connection.execute(DUE, [late, TABLES]).fetchone() == (True,)
        if due:
            connection.execute(f"ANALYZE {', '.join(TABLES)}")
    return due


def _tell(notice: Diagnostic) -> None:
    """Tables of another owner are passed over with a warning."""
    log.warning("samples_not_renewed", why=notice.message_primary)
