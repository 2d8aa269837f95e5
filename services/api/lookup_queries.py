"""All lookups together."""

from services.api.customer_lookups import CustomerLookups
from services.api.entry_lookups import EntryLookups
from services.api.reader import Reader


class PostgresLookups(CustomerLookups, EntryLookups):
    """Implements `lookups.Lookups` on the pool for what is not read by key."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
