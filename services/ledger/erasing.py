"""Erasing a customer: the data key is destroyed first, then the fact is recorded; both may be repeated.

Closed is for good, and an erasure is decided on committed state and read receipts only. So even a worker that lost its
shards unknowingly destroys no key that its successor would have kept.
"""

from collections.abc import Iterable
from uuid import UUID

import psycopg

from events.commands import EraseCustomer
from events.facts import CustomerErased
from services.coffin import past_owners
from services.keyring import key_ring
from services.ledger.admission import Asked, Bulk, Declined, Rejected
from services.ledger.ports import StoredRow
from services.sessions import KEEPALIVES
from services.settings import Settings

AT_ONCE = 10_000
ERASED = "SELECT originator_id FROM stored_events WHERE topic = 'customer.erased.v1'"


def erasing(one: Asked | Bulk | Declined | Rejected) -> bool:
    """Whether a data key may go."""
    return isinstance(one, Asked) and isinstance(one.ask, EraseCustomer)


def erased_in(events: Iterable[StoredRow]) -> set[UUID]:
    """Customers whose data keys go before these events become true."""
    return {event.stream for event in events if event.type == CustomerErased.TYPE}


def check_erased(settings: Settings) -> int:
    """At every start, and after a recovery: no key lives of whom the events call erased, and none of old dead letters.

    A restored backup of the key database brings keys back; how many there were. The time is the database's: a wrong
    clock here would take a key that is in use.
    """
    ring = key_ring(settings)
    dsn = settings.store_dsn.get_secret_value()
    again = 0
    with psycopg.connect(dsn, **KEEPALIVES) as store, store.cursor("erased") as found:
        [(now,)] = store.execute("SELECT now()").fetchall()
        ring.destroy(ring.living(past_owners(now)))
        found.execute(ERASED)
        while rows := found.fetchmany(AT_ONCE):
            if back := ring.living(stream for (stream,) in rows):
                ring.destroy(back)
                again += len(back)
    ring.forget()
    return again
