"""Which events moved money, and which way."""

from collections.abc import Iterator, Sequence

from events.facts import Movement, WalletCredited
from services.projections.read_models.event import Event


def movements(events: Sequence[Event]) -> Iterator[tuple[Event, Movement, int]]:
    """Each money event with its fact and the sign it has for the wallet."""
    for event in events:
        fact = event.fact
        if isinstance(fact, Movement):
            yield event, fact, 1 if isinstance(fact, WalletCredited) else -1
