"""What a restored backup of the key database brings back is destroyed again."""

import psycopg

from services.coffin import past_owners
from services.keyring import key_ring
from services.sessions import KEEPALIVES
from services.settings import Settings

AT_ONCE = 10_000
ERASED = "SELECT originator_id FROM stored_events WHERE topic = 'customer.erased.v1'"


def check_erased(settings: Settings) -> int:
    """At every start, and after a recovery: no key lives of whom the events call erased, and none of old dead letters.

    A restored backup of the key database brings keys back; how many there were. Of who is younger than it the mark is
    missing: projections would wait for the key. The time is the database's: a wrong clock here would take a key that is
    in use.
    """
    ring = key_ring(settings)
    dsn = settings.store_dsn.get_secret_value()
    again = 0
    with psycopg.connect(dsn, **KEEPALIVES) as store, store.cursor("erased") as found:
        [(now,)] = store.execute("SELECT now()").fetchall()
        ring.destroy(ring.living(past_owners(now)))
        found.execute(ERASED)
        while rows := found.fetchmany(AT_ONCE):
            streams = [stream for (stream,) in rows]
            back = ring.living(streams)
            if gone := back | ring.unknown(streams):
                ring.destroy(gone)
            again += len(back)
    ring.forget()
    return again
