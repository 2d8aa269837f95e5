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

from events.codec import timestamp
from events.commands import Command
from events.facts import AnyFact
from events.replies import Outcome, Reply
from events.requests import RequestAsk
from events.upstream import RecordUpstream
from services.coffin import DeadLetter
from services.ledger.batches import receipts, replies
from services.ledger.batches.admission import Asked, Other, Rejected
from services.ledger.batches.attempts import Attempts
from services.ledger.batches.folding import HistoryBroken
from services.ledger.batches.outcomes import Answer, Decided, Unsure
from services.ledger.batches.receipts import Receipt, ReceiptKey, ReceiptRow
from services.ledger.batches.wrapping import Wrapped, effects_of, usable, wrapped
from services.ledger.domain.customer import INITIAL, Customer, decide
from services.ledger.domain.given import Given
from services.ledger.domain.requests import decide_request
from services.ledger.domain.rules import Rule
from services.ledger.domain.states import State, evolve_any, initial
from services.ledger.domain.upstream import decide_upstream
from services.ledger.ports import CommandRecord, Commit, Loaded, ShardRow, StoredRow

log = structlog.get_logger()


class Configured(NamedTuple):
    """Open currencies, the secret of request hashes, and what follows from upstream's word."""

    currencies: frozenset[str]
    request_secret: bytes
    wallet_rules: frozenset[str] = frozenset(Rule)


class Batch:
    """`shards` are the committed rows of the shards this worker owns; `states` committed state.

    `sure`: receipts of all keys were looked for. Else deciding may raise `Unsure`, and the batch is for nothing.
    """

    def __init__(
        self,
        configured: Configured,
        shards: Mapping[int, ShardRow],
        states: Mapping[UUID, State | HistoryBroken],
        loaded: Loaded,
        attempts: Attempts,
        data_keys: Mapping[UUID, bytes],
        now: int,
        sure: bool = True,
    ) -> None:
        self._configured = configured
        self.sure = sure
        self._committed_shards = shards
        self._committed_states = states
        self._loaded = loaded
        self._data_keys = data_keys
        self._now = now
        self.shards: dict[int, ShardRow] = {}
        self.states: dict[UUID, State] = {}
        self.events: list[StoredRow] = []
        self.answers: list[Answer] = []
        self.dead_letters: list[DeadLetter] = []
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.effects: Counter[tuple[str, str]] = Counter()
        self.awaited = False
        self._receipts: dict[ReceiptKey, Receipt] = {}
        self._receipt_rows: list[ReceiptRow] = []
        self._attempts = attempts

    def take(self, asked: Asked) -> None:
        """Decide one command."""
        [reply] = self.guarded([asked], lambda: [self.outcome(asked)])
        self.dispose(asked.record, asked.command, reply)

    def guarded(self, asked: Sequence[Asked], deciding: Callable[[], list[Reply]]) -> list[Reply]:
        """The replies to these, counted. Whatever goes wrong with them concerns them alone."""
        try:
            found = deciding()
        except Exception as error:  # a defect met in one command; the others of the batch go on
            if not self.sure:
                raise Unsure from error
            command = asked[0].command
            named = {"command_id": command.id, "correlation_id": command.correlationid}
            log.error("command_failed", **named, error=type(error).__name__, exc_info=True)
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
        facts = self._decide(asked, hashed)
        if not facts:
            return Reply(correlation="", outcome=Outcome.UNCHANGED)
        [reply] = self.settle([Decided(asked, hashed, facts)])
        return reply

    def settle(self, decided: Sequence[Decided]) -> list[Reply]:
        """New commands of one customer: record all of them, and only then let the overlay know."""
        first = decided[0].asked
        states = {first.key.stream: self.customer(first.key.stream)} | {
            other.place: self._other(other) for other in first.others
        }
        row = self._shard(first.record.shard)
        recorded: list[list[Wrapped]] = []
        for asked, hashed, facts in decided:
            recorded.append([])
            for fact in facts:
                other = asked.other(fact.CATEGORY)
                stream = asked.key.stream if other is None else other.place
                known = self._data_keys.get(asked.key.stream)
                key = usable(known, self.customer(asked.key.stream), asked.ask, fact)
                state = states[stream]
                envelope, value, row = wrapped(asked, hashed, fact, key, state.version + 1, row, self._now)
                states[stream] = evolve_any(state, fact, envelope.time, envelope.effectivetime)
                recorded[-1].append(Wrapped(stream, envelope, fact, value))
        found = []
        self.states |= states
        registered = self.customer(first.key.stream).registered
        for (asked, hashed, _), events in zip(decided, recorded, strict=True):
            self._merge(asked, hashed, row, events)
            found.append(replies.from_event(events[0].envelope, events[0].fact, registered, replayed=False))
        return found

    def _decide(self, asked: Asked, hashed: str) -> Sequence[AnyFact]:
        """What follows from a new command."""
        customer, given = self.customer(asked.key.stream), self.given(asked)
        about = {other.category: self._other(other) for other in asked.others}
        ask = asked.ask
        if isinstance(ask, RecordUpstream):
            profile = receipts.print_of(self._configured.request_secret, asked.command, ask.customer)
            given = given._replace(print=hashed.partition(":")[2][:16], profile_print=profile)
            return decide_upstream(ask, customer, about, given)
        if isinstance(ask, RequestAsk):
            return decide_request(ask, customer, about, given)
        return decide(ask, customer, given)

    def hashed(self, asked: Asked) -> str:
        """What tells whether a repeated key asks for the same thing."""
        return receipts.request_hash(self._configured.request_secret, asked.command, asked.ask)

    def prior(self, key: ReceiptKey) -> Receipt | None:
        """What this key got before, in this batch too."""
        return self._receipts.get(key) or self._loaded.receipts.get(key)

    def repeated(self, asked: Asked, prior: Receipt) -> Reply:
        """The answer of a receipt."""
        return replies.from_stored(prior.event, self.customer(asked.key.stream).registered)

    def given(self, asked: Asked) -> Given:
        configured, material = self._configured, receipts.material_of(asked.key)
        return Given(material, configured.currencies, configured.wallet_rules, time=timestamp(self._now))

    def _merge(self, asked: Asked, hashed: str, row: ShardRow, recorded: Sequence[Wrapped]) -> None:
        for stream, envelope, fact, value in recorded:
            for effect in effects_of(fact):
                self.effects[effect] += 1
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
        _, first, _, value = recorded[0]
        self.shards[row.shard] = row
        sequence = int(first.sequence)
        self._receipts[asked.key] = Receipt(hashed, row.shard, sequence, value)
        self._receipt_rows.append(
            ReceiptRow(*asked.key, hashed, row.shard, sequence, asked.command.id, asked.record.offset)
        )
        if asked.command.idempotencykey is UNSET:
            self._attempts.note(asked, hashed, self._receipts[asked.key])

    def customer(self, stream: UUID) -> Customer:
        """As the batch so far would leave him."""
        state = self._state(stream) or INITIAL
        assert isinstance(state, Customer)
        return state

    def _other(self, other: Other) -> State:
        return self._state(other.place) or initial(other.category)

    def _state(self, stream: UUID) -> State | None:
        found = self.states.get(stream) or self._committed_states.get(stream)
        if isinstance(found, HistoryBroken):
            raise found
        return found

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
