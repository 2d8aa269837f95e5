"""All lookups on a pool of their own: what they wait for, reads by key do not."""

from services.api.customer_lookups import CustomerLookups
from services.api.entry_lookups import EntryLookups
from services.api.reader import SEARCHED, Reader

CONNECTIONS = 4


class PostgresLookups(CustomerLookups, EntryLookups):
    """Implements `lookups.Lookups`."""

    def __init__(self, dsn: str) -> None:
        self._reader = Reader(dsn, SEARCHED, CONNECTIONS)

    async def open(self) -> None:
        await self._reader.open()

    async def close(self) -> None:
        await self._reader.close()
