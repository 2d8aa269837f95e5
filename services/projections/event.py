"""A record of `ledger.events` as the projector gets it, and an event as projections read it."""

from typing import NamedTuple

from events.envelope import Envelope
from events.facts import AnyFact
from services.reading import Record as Record


class Event(NamedTuple):
    """Decoded, next in its chain; `fact.sealed` is left only where the customer's key is gone."""

    shard: int
    sequence: int
    next_offset: int
    digest: bytes
    envelope: Envelope
    fact: AnyFact
