"""One batch of commands, decided one after the other on an overlay over committed state. No I/O.

Nothing here is true until the store has committed it: the worker merges the overlay afterwards, or drops it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import structlog
from msgspec import UNSET
from msgspec.structs import replace

from events.codec import EVENT_BYTES_MAX, Malformed, digest, encode_envelope, encode_fact, timestamp
from events.commands import Command
from events.envelope import Envelope
from events.facts import CustomerFact
from events.ids import position, stream_name
from events.personal import Personal
from events.replies import Outcome, Reply
from events.sealing import seal
from services.ledger import receipts, replies
from services.ledger.attempts import Attempts
from services.ledger.domain.customer import INITIAL, Customer, Given, decide, evolve
from services.ledger.intake import Asked, Rejected
from services.ledger.outcomes import Answer, DeadLetter, Decided
from services.ledger.ports import CommandRecord, Commit, Loaded, ShardRow, StoredRow
from services.ledger.receipts import Receipt, ReceiptKey, ReceiptRow

log = structlog.get_logger()


class Rules(NamedTuple):
    """What is configured: open currencies, and the secret of request hashes."""

    currencies: frozenset[str]
    request_secret: bytes


class NoDataKey(Exception):
    """A registered customer without a data key: the key table is behind the store."""


class Batch:
    """`shards` are the committed rows of the shards this worker owns; `customers` committed state."""

    def __init__(
        self,
        rules: Rules,
        shards: Mapping[int, ShardRow],
        customers: Mapping[UUID, Customer],
        loaded: Loaded,
        data_keys: Mapping[UUID, bytes],
        now: int,
    ) -> None:
        self._rules = rules
        self._committed_shards = shards
        self._committed_customers = customers
        self._loaded = loaded
        self._data_keys = data_keys
        self._now = now
        self.shards: dict[int, ShardRow] = {}
        self.customers: dict[UUID, Customer] = {}
        self.events: list[StoredRow] = []
        self.answers: list[Answer] = []
        self.dead_letters: list[DeadLetter] = []
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.awaited = False
        self._receipts: dict[ReceiptKey, Receipt] = {}
        self._receipt_rows: list[ReceiptRow] = []
        self._attempts = Attempts(loaded.attempts, now)

    def take(self, asked: Asked) -> None:
        """Decide one command."""
        [reply] = self.guarded([asked], lambda: [self.outcome(asked)])
        self.dispose(asked.record, asked.command, reply)

    def guarded(self, asked: Sequence[Asked], deciding: Callable[[], list[Reply]]) -> list[Reply]:
        """The replies to these, counted. Whatever goes wrong with them concerns them alone."""
        try:
            found = deciding()
        except Exception as error:
            command = asked[0].command
            log.error("command_failed", command_id=command.id, error=type(error).__name__, exc_info=True)
            failed = Reply(correlation="", outcome=Outcome.FAILED, code="INTERNAL_SERVER_ERROR")
            found = [failed] * len(asked)
            self._bury(asked[0].record, "FAILED", type(error).__name__)
        for one, reply in zip(asked, found, strict=True):
            self._count(one.command.type, reply)
        return found

    def dispose(self, record: CommandRecord, command: Command, reply: Reply) -> None:
        """The record is done with."""
        self.awaited = self.awaited or command.awaited
        self._move(record.shard, record.offset, command.id)
        self._answer(command.replyto, reply)

    def reject(self, rejected: Rejected) -> None:
        """Pass over a record that is no command of this shard."""
        record = rejected.record
        if rejected.outcome is Outcome.MALFORMED:
            self.dead_letters.append(DeadLetter(*record, rejected.code, rejected.message))
        self._move(record.shard, record.offset, rejected.identity)
        reply = Reply(correlation="", outcome=rejected.outcome, code=rejected.code, message=rejected.message)
        self._count("unknown", reply)
        self._answer(rejected.replyto, reply)

    @property
    def taken(self) -> int:
        """How many commands this batch disposes of, each entry of a bulk record for itself."""
        return self.outcomes.total()

    def commit(self) -> Commit:
        """The transaction that makes this batch true."""
        shards = sorted(self.shards)
        return Commit(
            before=[self._committed_shards[shard] for shard in shards],
            after=[self.shards[shard] for shard in shards],
            events=self.events,
            receipts=self._receipt_rows,
            attempts=self._attempts.rows,
        )

    def outcome(self, asked: Asked) -> Reply:
        """Of one command by itself."""
        hashed = self.hashed(asked)
        prior = self.prior(asked.key)
        if prior is not None and prior.request_hash != hashed:
            return Reply(correlation="", outcome=Outcome.KEY_REUSED, code="IDEMPOTENCY_KEY_REUSED")
        if prior is None and asked.command.idempotencykey is UNSET:
            prior = self._attempts.match(asked, hashed)
        if prior is not None:
            return self.repeated(asked, prior)
        facts = decide(asked.ask, self.customer(asked.key.stream), self.given(asked))
        [reply] = self.settle([Decided(asked, hashed, facts)])
        return reply

    def settle(self, decided: Sequence[Decided]) -> list[Reply]:
        """New commands of one customer: record all of them, and only then let the overlay know."""
        first = decided[0].asked
        customer, row = self.customer(first.key.stream), self._shard(first.record.shard)
        recorded: list[list[tuple[Envelope, CustomerFact, bytes]]] = []
        for asked, hashed, facts in decided:
            recorded.append([])
            for fact in facts:
                envelope, value, row = self._record(asked, hashed, fact, customer, row)
                customer = evolve(customer, fact, envelope.time)
                recorded[-1].append((envelope, fact, value))
        found = []
        for (asked, hashed, _), events in zip(decided, recorded, strict=True):
            self._merge(asked, hashed, customer, row, events)
            envelope, fact, _ = events[0]
            found.append(replies.from_event("", envelope, fact, customer.registered, replayed=False))
        return found

    def hashed(self, asked: Asked) -> str:
        """What tells whether a repeated key asks for the same thing."""
        return receipts.request_hash(self._rules.request_secret, asked.command, asked.ask)

    def prior(self, key: ReceiptKey) -> Receipt | None:
        """What this key got before, in this batch too."""
        return self._receipts.get(key) or self._loaded.receipts.get(key)

    def repeated(self, asked: Asked, prior: Receipt) -> Reply:
        """The answer of a receipt."""
        return replies.from_stored("", prior.event, self.customer(asked.key.stream).registered)

    def given(self, asked: Asked) -> Given:
        return Given(receipts.entry_of(asked.key), self._rules.currencies)

    def _record(
        self, asked: Asked, hashed: str, fact: CustomerFact, customer: Customer, row: ShardRow
    ) -> tuple[Envelope, bytes, ShardRow]:
        """Seal, wrap and chain one fact; the shard row as it stands after it."""
        command, record = asked.command, asked.record
        sequence = row.sequence + 1
        event_id = position(row.shard, sequence)
        moment = max(self._now, row.last_time)
        time = timestamp(moment)
        name = stream_name(fact.CATEGORY, command.subject)
        envelope = Envelope(
            id=event_id,
            source=f"/shards/{row.shard}",
            type=fact.TYPE,
            subject=command.subject,
            time=time,
            effectivetime=time if command.effectivetime is UNSET else command.effectivetime,
            sequence=f"{sequence:020}",
            previoushash=row.head.hex(),
            stream=name,
            streamversion=customer.version + 1,
            businessid=command.businessid,
            mode=command.mode,
            origin=command.origin,
            actor=command.actor,
            causationid=command.id,
            correlationid=command.correlationid,
            keyhash=asked.key.key_hash.hex(),
            requesthash=hashed,
            commandid=command.id,
            commandposition=record.offset,
            attempt=command.attempt if command.idempotencykey is UNSET else UNSET,
            data=encode_fact(self._sealed(asked, fact, name, event_id)),
        )
        value = encode_envelope(envelope)
        if len(value) > EVENT_BYTES_MAX:
            raise Malformed(f"an event has at most {EVENT_BYTES_MAX} bytes")
        after = replace(row, sequence=sequence, head=digest(value), last_time=moment)
        return envelope, value, after

    def _sealed(self, asked: Asked, fact: CustomerFact, stream: str, event_id: str) -> CustomerFact:
        """Personal data under the customer's key. An unknown customer has no key: nothing of him is kept."""
        personal = fact.personal if isinstance(fact.personal, Personal) else Personal()
        if asked.command.idempotencykey is not UNSET:
            personal = replace(personal, idempotency_key=asked.command.idempotencykey)
        key = self._data_keys.get(asked.key.stream)
        if key is None and self.customer(asked.key.stream).registered:
            raise NoDataKey("the key table has no key for a registered customer: is it an old backup?")
        if key is None or personal == Personal():
            return replace(fact, personal=UNSET)
        return seal(replace(fact, personal=personal), key, stream, event_id)

    def _merge(
        self,
        asked: Asked,
        hashed: str,
        customer: Customer,
        row: ShardRow,
        recorded: list[tuple[Envelope, CustomerFact, bytes]],
    ) -> None:
        stream, record = asked.key.stream, asked.record
        for envelope, _, value in recorded:
            self.events.append(
                StoredRow(
                    stream,
                    envelope.streamversion,
                    envelope.type,
                    value,
                    row.shard,
                    int(envelope.sequence),
                    envelope.subject.encode(),
                )
            )
        first, _, value = recorded[0]
        self.customers[stream] = customer
        self.shards[row.shard] = row
        sequence = int(first.sequence)
        self._receipts[asked.key] = Receipt(hashed, row.shard, sequence, value)
        self._receipt_rows.append(
            ReceiptRow(*asked.key, hashed, row.shard, sequence, asked.command.id, record.offset)
        )
        if asked.command.idempotencykey is UNSET:
            self._attempts.note(asked, hashed, self._receipts[asked.key])

    def customer(self, stream: UUID) -> Customer:
        """As the batch so far would leave him."""
        return self.customers.get(stream) or self._committed_customers.get(stream, INITIAL)

    def _shard(self, shard: int) -> ShardRow:
        return self.shards.get(shard) or self._committed_shards[shard]

    def _move(self, shard: int, offset: int, identity: str) -> None:
        self.shards[shard] = replace(self._shard(shard), position=offset, position_command_id=identity)

    def _bury(self, record: CommandRecord, code: str, message: str) -> None:
        """Once, however many of its entries failed."""
        if not self.dead_letters or self.dead_letters[-1][:2] != record[:2]:
            self.dead_letters.append(DeadLetter(*record, code, message))

    def _count(self, kind: str, reply: Reply) -> None:
        self.outcomes[kind, "replayed" if reply.replayed else reply.outcome.value] += 1

    def _answer(self, to: object, reply: Reply) -> None:
        if isinstance(to, str) and to:
            correlation = to.partition("/")[2]
            self.answers.append(Answer(to, replace(reply, correlation=correlation)))
