"""PostgreSQL keeps samples of columns for its planner: those of somebody erased go with the next ANALYZE."""

import asyncio

import psycopg
import structlog

from services.projections.tables import READ_MODELS
from services.sessions import KEEPALIVES

log = structlog.get_logger()

LOOK_SECONDS = 600.0
TABLES = [table.name for table in READ_MODELS]
DUE = """
    SELECT EXISTS (
        SELECT FROM customers WHERE erased_at > (
            SELECT coalesce(min(greatest(last_analyze, last_autoanalyze)), '-infinity') - interval '1 hour'
            FROM pg_stat_user_tables WHERE schemaname = 'public' AND relname = ANY(%s)
        )
    )
"""
"""An hour: an erasure may be older than its rows by what the projections are behind."""


async def renew_forever(dsn: str) -> None:
    """Beside the work: it only ever costs reading."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            await asyncio.to_thread(renew, dsn)
        except psycopg.Error as error:  # it is tried again
            log.warning("samples_not_renewed", error=type(error).__name__)


def renew(dsn: str) -> bool:
    """Whether it was due: somebody was erased since the last time.

    Raises:
        psycopg.Error: the database is away, or not ours to analyse.
    """
    with psycopg.connect(dsn, autocommit=True, **KEEPALIVES) as connection:
        due = connection.execute(DUE, [TABLES]).fetchone() == (True,)
        if due:
            connection.execute(f"ANALYZE {', '.join(TABLES)}")
    return due
