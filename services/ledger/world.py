"""What the worker's parts share: everything outside of it, and who speaks for it."""

from typing import NamedTuple, Protocol
from uuid import UUID

from services.coffin import DeadLetter
from services.ledger.batches.answers import Answers
from services.ledger.ownership import Ownership
from services.ledger.ports import Broker, Clock, Store
from services.ledger.relay.relay import Relay


class Keys(Protocol):
    """Data keys of customers by stream."""

    async def of(self, existing: set[UUID], registering: set[UUID]) -> dict[UUID, bytes]:
        """Keys of existing customers, and keys (made now where there is none) of those being registered."""
        ...

    async def destroy(self, owners: set[UUID]) -> None:
        """No key any more, for good; returns when that is durable. Safe to repeat."""
        ...

    def forget(self) -> None:
        """Drop what is cached: the next life reads afresh."""
        ...


class Coffin(Protocol):
    """Seals what could not be taken, for operators."""

    async def seal(self, letter: DeadLetter) -> tuple[bytes, bytes]:
        """Key and value of the record for `ledger.dead-letters`. Raises NoKey."""
        ...


class World(NamedTuple):
    """What batches come from and go to."""

    store: Store
    broker: Broker
    clock: Clock
    keys: Keys
    coffin: Coffin
    relay: Relay
    ownership: Ownership
    answers: Answers
