"""An event as projections read it."""

from typing import NamedTuple

from events.envelope import Envelope
from events.facts import AnyFact


class Event(NamedTuple):
    """Decoded, next in its chain; `fact.sealed` is left only where the customer's key was destroyed."""

    shard: int
    sequence: int
    next_offset: int
    digest: bytes
    envelope: Envelope
    fact: AnyFact
