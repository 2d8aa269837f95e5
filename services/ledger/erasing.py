"""Erasing a customer: the data key is destroyed first, then the fact is recorded; both may be repeated.

Closed is for good, and an erasure is decided on committed state and read receipts only. So even a worker that lost its
shards unknowingly destroys no key that its successor would have kept.
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import psycopg
import structlog

from events.commands import EraseCustomer
from events.facts import CustomerErased
from services.coffin import past_owners
from services.keyring import key_ring
from services.ledger.admission import Asked, Bulk, Declined, Rejected
from services.ledger.ports import StoredRow
from services.settings import Settings

log = structlog.get_logger()

AT_ONCE = 1_000
ERASED = "SELECT originator_id FROM stored_events WHERE topic = 'customer.erased.v1'"


def erasing(one: Asked | Bulk | Declined | Rejected) -> bool:
    """Whether a data key may go."""
    return isinstance(one, Asked) and isinstance(one.ask, EraseCustomer)


def erased_in(events: Iterable[StoredRow]) -> set[UUID]:
    """Customers whose data keys go before these events become true."""
    return {event.stream for event in events if event.type == CustomerErased.TYPE}


def check_erased(settings: Settings, now: datetime) -> None:
    """At every start: no key lives of whom the events call erased, and none of old dead letters.

    A restored backup of the key database brings keys back.
    """
    ring = key_ring(settings)
    ring.destroy(past_owners(now))
    with (
        psycopg.connect(settings.store_dsn.get_secret_value()) as connection,
        connection.cursor("erased") as found,
    ):
        found.execute(ERASED)
        while rows := found.fetchmany(AT_ONCE):
            if back := ring.destroy(stream for (stream,) in rows):
                log.error("keys_of_erased_customers_destroyed_again", count=len(back))
    ring.forget()
