"""Batches without a worker: commands in, one Batch, and its results committed to a small memory."""

from typing import Any
from uuid import UUID

from events.codec import decode_envelope, digest, genesis
from events.commands import AnyAsk, BulkEntry, EnterInBulk
from events.envelope import Envelope
from events.ids import Tenant
from events.replies import Reply
from events.sharding import shard_of
from services.ledger.batches import admission, bulk
from services.ledger.batches.admission import Asked, Bulk, One
from services.ledger.batches.attempts import Attempts, Declines
from services.ledger.batches.batch import Batch, Configured
from services.ledger.batches.decisions import REGISTERING, commands_of
from services.ledger.batches.receipts import Receipt, ReceiptKey
from services.ledger.domain.customer import Customer
from services.ledger.domain.states import State
from services.ledger.ports import Attempt, CommandRecord, Loaded, ShardRow, Tried
from tests.fakes import asking

SHARDS = 4
NOW = 1_790_000_000_000_000
CONFIGURED = Configured(frozenset({"USD", "INR"}), b"secret")


class Deck:
    """One worker's committed state; `play` is one batch."""

    def __init__(self, configured: Configured = CONFIGURED) -> None:
        self.configured = configured
        self.rows = {n: ShardRow(n, 1, -1, "", 0, genesis("deck", n), 0, 0, -1) for n in range(SHARDS)}
        self.customers: dict[UUID, State] = {}
        self.receipts: dict[ReceiptKey, Receipt] = {}
        self.attempts: dict[Attempt, list[Tried]] = {}
        self.keys: dict[UUID, bytes] = {}
        self.now = NOW
        self._numbers = 0
        self._made: dict[tuple[int, int], Receipt] = {}
        self._offsets = dict.fromkeys(range(SHARDS), 0)

    def asked(self, customer: str, ask: AnyAsk, **more: Any) -> Asked:
        """The next record of its customer's shard, as it is admitted."""
        found = self._sent(customer, ask, **more)
        assert isinstance(found, Asked)
        return found

    def bulk(self, *entries: BulkEntry, together: bool = False, **more: Any) -> Bulk:
        """One record of many commands."""
        found = self._sent(entries[0].customer_id, asking.bulk(*entries, together=together), **more)
        assert isinstance(found, Bulk), found
        return found

    def _sent(self, customer: str, ask: AnyAsk | EnterInBulk, **more: Any) -> One:
        self._numbers += 1
        return self.read(shard_of(customer, SHARDS), asking.command(self._numbers, customer, ask, **more))

    def read(self, shard: int, value: bytes) -> One:
        """The next record of this shard, as it is admitted, or why not."""
        record = CommandRecord(shard, self._offsets[shard], value)
        self._offsets[shard] += 1
        found = admission.read(record, SHARDS, self.now, available=True)
        for one in commands_of(found):
            if isinstance(one.ask, REGISTERING):
                self.keys.setdefault(one.key.stream, bytes(32))
        return found

    def batch(self) -> Batch:
        loaded = Loaded({}, self.receipts, self.attempts)
        attempts = Attempts(self.attempts, Declines(), self.now)
        return Batch(self.configured, self.rows, self.customers, loaded, attempts, self.keys, self.now)

    def play(self, *asked: Asked | Bulk) -> Batch:
        """Decide and commit."""
        batch = self.batch()
        for one in asked:
            if isinstance(one, Bulk):
                bulk.take(batch, one)
            else:
                batch.take(one)
        self.commit(batch)
        return batch

    def commit(self, batch: Batch) -> None:
        commit = batch.commit()
        self.rows |= batch.shards
        self.customers |= batch.states
        stored = {(event.shard, event.sequence): event.value for event in commit.events}
        for row in commit.receipts:
            event = stored[row.shard, row.sequence]
            receipt = Receipt(row.request_hash, row.shard, row.sequence, event)
            self.receipts[row.key] = self._made[row.shard, row.sequence] = receipt
        for tried in commit.attempts:
            known = self.attempts.setdefault(Attempt(tried.stream, tried.request_hash, tried.attempt), [])
            known.append(Tried(tried.command_id, self._made[tried.shard, tried.sequence]))

    def known(self, customer: str, balance: int = 0) -> None:
        """A registered customer with some USD."""
        self.play(self.asked(customer, asking.REGISTER))
        if balance:
            self.play(self.asked(customer, asking.credit(balance)))

    def balance(self, customer: str, tenant: Tenant = asking.TENANT, currency: str = "USD") -> int:
        state = self.customers[asking.stream_of(customer, tenant)]
        assert isinstance(state, Customer)
        return state.balance(currency)


def replies(batch: Batch) -> list[Reply]:
    return [answer.reply for answer in batch.answers]


def outcomes(batch: Batch) -> list[str]:
    """`applied`, `refused`…, with a `+` where it was answered from a receipt."""
    return [reply.outcome.value + "+" * reply.replayed for reply in replies(batch)]


def envelopes(batch: Batch) -> list[Envelope]:
    return [decode_envelope(event.value) for event in batch.events]


def linked(batch: Batch, heads: dict[int, bytes]) -> bool:
    """Whether each event names the bytes before it in its shard."""
    for event in batch.events:
        if decode_envelope(event.value).previoushash != heads[event.shard].hex():
            return False
        heads[event.shard] = digest(event.value)
    return True
