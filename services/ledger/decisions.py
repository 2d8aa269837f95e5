"""Committed state in memory, and batches decided on it: load what is cold, get the data keys, decide one by one."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

from msgspec import UNSET

from events.codec import decode_envelope, decode_fact
from events.commands import RegisterCustomer
from services.ledger import metrics
from services.ledger.batch import Batch, Rules
from services.ledger.beating import ATTEMPT_MICROS
from services.ledger.domain.customer import INITIAL, Customer, fold
from services.ledger.intake import Asked, Rejected
from services.ledger.ports import Attempt, Loaded, ShardRow, Store
from services.ledger.receipts import request_hash

BATCH_COLD_MAX = 200
CACHED_CUSTOMERS_MAX = 200_000
NOTHING = Loaded({}, {}, {})

Read = Sequence[Asked | Rejected]


class Keys(Protocol):
    """Data keys of customers by stream."""

    async def of(self, existing: set[UUID], registering: set[UUID]) -> dict[UUID, bytes]:
        """Keys of existing customers, and keys (made now where there is none) of those being registered."""
        ...

    def forget(self) -> None:
        """Drop what is cached: the next life reads afresh."""
        ...


class Decisions:
    """State of the customers that this worker's shards own, as committed; bounded."""

    def __init__(self, store: Store, keys: Keys, rules: Rules) -> None:
        self._store = store
        self._keys = keys
        self._rules = rules
        self.customers: OrderedDict[UUID, Customer] = OrderedDict()

    def fitting(self, read: Read) -> int:
        """How many of these fit into one batch: the cold aggregates of a batch are bounded."""
        cold: set[UUID] = set()
        for index, one in enumerate(read):
            if isinstance(one, Asked) and one.key.stream not in self.customers:
                cold.add(one.key.stream)
                if len(cold) > BATCH_COLD_MAX:
                    return index
        return len(read)

    async def decide(self, read: Read, owned: Mapping[int, ShardRow], now: int, receipts: bool) -> Batch:
        """A batch that is not true yet. `receipts`: whether to look for receipts before, at the cost of a read."""
        asked = [one for one in read if isinstance(one, Asked)]
        loaded = await self._load(asked, now, receipts)
        registering = {one.key.stream for one in asked if isinstance(one.ask, RegisterCustomer)}
        existing = {s for one in asked if self.customers.get(s := one.key.stream, INITIAL).registered}
        data_keys = await self._keys.of(existing, registering - existing)
        batch = Batch(self._rules, owned, self.customers, loaded, data_keys, now)
        for one in read:
            if isinstance(one, Asked):
                batch.take(one)
            else:
                batch.reject(one)
        return batch

    def forget(self) -> None:
        """Nothing is known any more: shards were handed to others, who change their customers."""
        self.customers.clear()
        self._keys.forget()

    def merge(self, batch: Batch) -> None:
        """The batch was committed: its state is the state."""
        for stream, customer in batch.customers.items():
            self.customers[stream] = customer
            self.customers.move_to_end(stream)
        while len(self.customers) > CACHED_CUSTOMERS_MAX:
            self.customers.popitem(last=False)
        metrics.CACHED_CUSTOMERS.set(len(self.customers))

    async def _load(self, asked: Sequence[Asked], now: int, receipts: bool) -> Loaded:
        """Receipts if asked for; histories of those not in memory, folded into the cache at once."""
        cold = [stream for stream in {one.key.stream for one in asked} if stream not in self.customers]
        retries = [
            Attempt(one.key.stream, self._hash(one), attempt - 1)
            for one in asked
            if one.command.idempotencykey is UNSET and (attempt := one.command.attempt)
        ]
        keys = list(dict.fromkeys(one.key for one in asked)) if receipts else []
        if not (cold or keys or retries):
            return NOTHING
        with metrics.LOAD_SECONDS.time():
            loaded = await self._store.load(cold, keys, list(dict.fromkeys(retries)), now - ATTEMPT_MICROS)
        for stream in cold:
            self.customers[stream] = _folded(loaded.histories.get(stream, ()))
        return loaded

    def _hash(self, asked: Asked) -> str:
        return request_hash(self._rules.request_secret, asked.command, asked.ask)


def _folded(history: Sequence[bytes]) -> Customer:
    envelopes = [decode_envelope(value) for value in history]
    return fold((decode_fact(envelope), envelope.time) for envelope in envelopes)
