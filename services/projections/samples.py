"""PostgreSQL keeps samples of columns for its planner: those of somebody erased go with the next ANALYZE."""

import asyncio

import psycopg
import structlog

from services.projections.read_models.tables import READ_MODELS
from services.sessions import KEEPALIVES

log = structlog.get_logger()

LOOK_SECONDS = 600.0
ANYBODY = "SELECT EXISTS (SELECT FROM customers WHERE erased_at IS NOT NULL)"


class NotOwned(Exception):
    """PostgreSQL passes over tables of another owner, and only warns."""


class Samples:
    """Due after each erasure that this process applied, and once after its start: an earlier one may have applied some."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self.due = True

    def note(self) -> None:
        """Somebody was erased."""
        self.due = True

    async def renew_forever(self) -> None:
        """Beside the work: it only ever costs reading."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if not self.due:
                continue
            self.due = False
            try:
                await asyncio.to_thread(renew, self._dsn)
            except (psycopg.Error, NotOwned) as error:  # it is tried again
                self.due = True
                why = str(error) if isinstance(error, NotOwned) else type(error).__name__
                log.warning("samples_not_renewed", why=why)


def renew(dsn: str) -> bool:
    """Whether they were taken: where nobody was ever erased they are left alone.

    Raises:
        NotOwned: at least one table was passed over.
        psycopg.Error: the database is away.
    """
    passed_over: list[str] = []
    with psycopg.connect(dsn, autocommit=True, **KEEPALIVES) as connection:
        connection.add_notice_handler(lambda notice: passed_over.append(notice.message_primary or ""))
        anybody = connection.execute(ANYBODY).fetchone() == (True,)
        if anybody:
            connection.execute(f"ANALYZE {', '.join(table.name for table in READ_MODELS)}")
    if passed_over:
        raise NotOwned(passed_over[0])
    return anybody
