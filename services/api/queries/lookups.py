"""All lookups together."""

from services.api.queries.customer_lookups import CustomerLookups
from services.api.queries.entry_lookups import EntryLookups


class PostgresLookups(CustomerLookups, EntryLookups):
    """Implements `lookups.Lookups` on the pool for what is not read by key."""
