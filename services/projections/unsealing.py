"""Sealed parts of a batch in clear, so far as there are keys. A key that is missing is no erasure: that leaves a mark."""

from msgspec import UNSET

from events.ids import owner_of
from events.sealing import Unsealable
from services.keyring import KeyRing, found_and_lost
from services.projections.chain import Break, Reading
from services.projections.read_models.event import Event
from services.projections.read_models.opening import opened


def unsealed(ring: KeyRing, reading: Reading) -> Reading:
    """Personal data stays sealed where its key was destroyed; any other seal that does not open is a break."""
    keys, lost = found_and_lost(ring, reading.owners())
    events: list[Event] = []
    for event in reading.events:
        envelope = event.envelope
        owner = owner_of(envelope.tenant, envelope.subject)
        key = keys.get(owner)
        if event.fact.sealed is UNSET or (key is None and owner not in lost):
            events.append(event)
            continue
        try:
            if key is None:
                raise Unsealable(f"its data key {lost[owner]}")
            fact = opened(event.fact, key, envelope.stream, envelope.id)
        except Unsealable as error:
            found = Break(event.shard, event.sequence, f"sealed part: {error}")
            return unsealed(ring, reading.until(found))
        events.append(event._replace(fact=fact))
    return reading._replace(events=events)
