"""PostgreSQL keeps samples of columns for its planner: those of somebody erased go with the next ANALYZE."""

import asyncio

import psycopg
import structlog
from psycopg.errors import Diagnostic

from services.projections.tables import READ_MODELS
from services.sessions import KEEPALIVES

log = structlog.get_logger()

LOOK_SECONDS = 600.0
TABLES = [table.name for table in READ_MODELS]
ANYBODY = "SELECT EXISTS (SELECT FROM customers WHERE erased_at IS NOT NULL)"


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
            except psycopg.Error as error:  # it is tried again
                self.due = True
                log.warning("samples_not_renewed", error=type(error).__name__)


def renew(dsn: str) -> bool:
    """Whether they were taken: where nobody was ever erased they are left alone.

    Raises:
        psycopg.Error: the database is away.
    """
    with psycopg.connect(dsn, autocommit=True, **KEEPALIVES) as connection:
        connection.add_notice_handler(_tell)
        anybody = connection.execute(ANYBODY).fetchone() == (True,)
        if anybody:
            connection.execute(f"ANALYZE {', '.join(TABLES)}")
    return anybody


def _tell(notice: Diagnostic) -> None:
    """Tables of another owner are passed over with a warning."""
    log.warning("samples_not_renewed", why=notice.message_primary)
