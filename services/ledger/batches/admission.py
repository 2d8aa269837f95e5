"""From a record to a command that this shard may decide, or to the reason why not. Pure."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec import UNSET, Raw
from msgspec.structs import asdict, replace

from events.codec import Malformed, decode_command, decode_told, micros
from events.commands import (
    BULK_CUSTOMERS_MAX,
    BULK_ID_LENGTH_MAX,
    AnyAsk,
    AnyBulk,
    Command,
    EnterInBulk,
    EraseCustomer,
    RecordInBulk,
    ReplyTo,
)
from events.ids import owner_of, place_of
from events.replies import Outcome
from events.requests import RequestSubscriptionChange
from events.sharding import shard_of
from events.upstream import RecordUpstream
from services.ledger.batches.receipts import ReceiptKey, receipt_key
from services.ledger.ports import CommandRecord, ShardRow
from services.nesting import NESTED_MAX, is_deep, may_be_deep


class Other(NamedTuple):
    """A stream of the customer's shard besides his own: what it is called, and where it is stored."""

    name: str
    place: UUID

    @property
    def category(self) -> str:
        return self.name.partition("-")[0]


class Asked(NamedTuple):
    """A command that will be decided. `others`: what it is about besides the customer, one of a category."""

    record: CommandRecord
    command: Command
    ask: AnyAsk
    key: ReceiptKey
    others: tuple[Other, ...] = ()

    @property
    def streams(self) -> Sequence[UUID]:
        """What it reads and writes; the customer's own first."""
        return (self.key.stream, *(other.place for other in self.others))

    def other(self, category: str) -> Other | None:
        """The one of this category."""
        for other in self.others:
            if other.category == category:
                return other
        return None


class Rejected(NamedTuple):
    """A record that will not: it leaves no event and no receipt, only its position is taken."""

    record: CommandRecord
    identity: str
    replyto: str
    outcome: Outcome
    code: str
    message: str


class Bulk(NamedTuple):
    """A record of many commands, which are decided one by one, or all or none per customer.

    `otherwise`: nothing new is decided; entries without a receipt get this outcome.
    """

    record: CommandRecord
    command: Command
    entries: list[Asked]
    all_or_nothing: bool
    otherwise: Rejected | None = None


class Declined(NamedTuple):
    """Too late, or too much is unpublished: rejected, unless it was decided when its record was read before.

    "Certainly not applied" may be said of a command only if it has no receipt.
    """

    asked: Asked | Bulk
    otherwise: Rejected


One = Asked | Bulk | Declined | Rejected
"""What a record turns out to be."""


class _Address(msgspec.Struct):
    """What can be saved of a command that is otherwise wrong."""

    replyto: ReplyTo


def read(record: CommandRecord, shards: int, now: int, available: bool) -> One:
    """`now` in microseconds; `available` false while the shard may take nothing (its relay is too far behind)."""
    try:
        command, ask = decode_command(record.value)
        late = is_late(command, ask, now)
        if command.effectivetime is not UNSET:
            micros(command.effectivetime)
        asked = _asked(record, command, ask, command.data)
    except Malformed as error:
        return _rejected(record, Outcome.MALFORMED, "INVALID_COMMAND", str(error))
    if not _belongs(command, ask, record.shard, shards):
        return _rejected(record, Outcome.MALFORMED, "WRONG_SHARD", "the customer lives in another partition")
    if isinstance(ask, AnyBulk) and (wrong := _limits(command, ask)) is not None:
        return _rejected(record, Outcome.MALFORMED, "INVALID_COMMAND", wrong)
    if late:
        why = "read after its deadline; not applied"
        return Declined(asked, _rejected(record, Outcome.LATE, "DEADLINE_EXCEEDED", why))
    if not available and not isinstance(ask, EraseCustomer):  # as with its deadline
        behind = "events cannot be published; not applied"
        return Declined(asked, _rejected(record, Outcome.UNAVAILABLE, "SHARD_UNAVAILABLE", behind))
    return asked


def is_late(command: Command, ask: AnyAsk | AnyBulk, now: int) -> bool:
    """Whether it came after its deadline. Erasures never do: a worker may have destroyed the key and died.

    Raises:
        Malformed: the deadline is no moment.
    """
    passed = command.deadline is not UNSET and micros(command.deadline) < now
    return passed and not isinstance(ask, EraseCustomer)


def _asked(record: CommandRecord, command: Command, ask: AnyAsk | AnyBulk, data: Raw) -> Asked | Bulk:
    """Raises Malformed."""
    if isinstance(ask, EnterInBulk):
        return Bulk(record, command, list(_entries(record, command, ask)), ask.all_or_nothing)
    if isinstance(ask, RecordInBulk):
        return Bulk(record, command, list(_facts(record, command, ask)), all_or_nothing=False)
    if isinstance(ask, RecordUpstream):
        micros(ask.told.time)
    if may_be_deep(bytes(data)) and is_deep(_loose(ask)):
        raise Malformed(f"objects and lists lie in each other at most {NESTED_MAX} deep")
    key = receipt_key(command, owner_of(command.tenant, command.subject))
    others = tuple(Other(name, place_of(command.tenant, command.subject, name)) for name in ask.streams)
    return Asked(record, command, ask, key, others)


def _loose(ask: AnyAsk) -> dict[str, Any]:
    """What of it has no form that its type would set. Intake and api hand nothing deep on; others send commands too."""
    if isinstance(ask, RecordUpstream):
        return ask.foreign
    return asdict(ask.change) if isinstance(ask, RequestSubscriptionChange) else {}


def _belongs(command: Command, ask: AnyAsk | AnyBulk, shard: int, shards: int) -> bool:
    """All customers that a record speaks of live in its partition."""
    if isinstance(ask, AnyBulk) and any(shard_of(customer, shards) != shard for customer in ask.customers):
        return False
    return shard_of(command.subject, shards) == shard


def _limits(command: Command, bulk: AnyBulk) -> str | None:
    """What a schema cannot say; None where all is well."""
    if len(command.id) > BULK_ID_LENGTH_MAX:
        return f"the id of a bulk record has at most {BULK_ID_LENGTH_MAX} characters"
    if command.idempotencykey is not UNSET:
        return "a bulk record has no idempotency key, its entries have"
    if len(set(bulk.customers)) > BULK_CUSTOMERS_MAX:
        return f"a bulk record is of at most {BULK_CUSTOMERS_MAX} customers"
    return None


def _entries(record: CommandRecord, command: Command, bulk: EnterInBulk) -> Iterator[Asked]:
    """Each as if it were asked for alone, by a command named after the record and its place in it."""
    tenant, nothing = command.tenant, Raw(b"{}")
    for place, entry in enumerate(bulk.entries):
        ask = entry.ask
        own = replace(
            command,
            id=f"{command.id}.{place}",
            type=ask.TYPE,
            subject=entry.customer_id,
            idempotencykey=entry.idempotency_key,
            data=nothing,
        )
        yield Asked(record, own, ask, receipt_key(own, owner_of(tenant, entry.customer_id)))


def _facts(record: CommandRecord, command: Command, bulk: RecordInBulk) -> Iterator[Asked]:
    """As `_entries`; each of a tenant of its own. Raises Malformed."""
    nothing = Raw(b"{}")
    for place, fact in enumerate(bulk.facts):
        ask = decode_told(fact)
        own = replace(
            command,
            id=f"{command.id}.{place}",
            type=fact.type,
            subject=fact.subject,
            businessid=fact.businessid,
            mode=fact.mode,
            idempotencykey=fact.idempotencykey,
            effectivetime=ask.told.time,
            data=nothing,
        )
        asked = _asked(record, own, ask, fact.data)
        assert isinstance(asked, Asked), "what upstream says is no bulk"
        yield asked


def identity(value: bytes) -> str:
    """How a record is recognised again at its offset: by its command id, else by its bytes."""
    try:
        return decode_command(value)[0].id
    except Malformed:
        return "sha256:" + hashlib.sha256(value).hexdigest()


def standing(value: bytes, row: ShardRow) -> int | None:
    """Where to read on, if this is the record that the shard row speaks of.

    A store that was recovered from the topic may end within a bulk record: it is read again for the rest.
    """
    name, entry = identity(value), row.position_command_id.rpartition(".")[0]
    if name == row.position_command_id:
        return row.position + 1
    return row.position if name == entry else None


def unstorable(record: CommandRecord) -> Rejected:
    """A command whose facts the store refuses: put aside, so that the partition goes on."""
    return _rejected(record, Outcome.MALFORMED, "UNSTORABLE", "the store refuses what follows from it")


def _rejected(record: CommandRecord, outcome: Outcome, code: str, message: str) -> Rejected:
    try:
        replyto = msgspec.json.decode(record.value, type=_Address).replyto
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        replyto = ""
    return Rejected(record, identity(record.value), replyto, outcome, code, message)
