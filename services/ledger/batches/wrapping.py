"""From a decided fact to the bytes that will be stored: sealed, wrapped, chained. Pure."""

from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

from msgspec import UNSET
from msgspec.structs import replace

from events.codec import EVENT_BYTES_MAX, Malformed, digest, encode_envelope, encode_fact, timestamp
from events.commands import AnyAsk, CloseCustomer, EraseCustomer
from events.envelope import Envelope
from events.facts import AnyFact, CustomerErased, CustomerRegistered
from events.ids import position, stream_name
from events.personal import Personal
from events.recorded import DisputeRecorded, PaymentRecorded, RefundRecorded
from events.requested import RefundMadeToWallet
from events.sealing import seal
from services.ledger.batches.admission import Asked
from services.ledger.batches.outcomes import NoDataKey
from services.ledger.domain.customer import Customer
from services.ledger.ports import ShardRow


class Wrapped(NamedTuple):
    """A fact as it will be stored."""

    stream: UUID
    envelope: Envelope
    fact: AnyFact
    value: bytes


def wrapped(
    asked: Asked, hashed: str, fact: AnyFact, key: bytes | None, version: int, row: ShardRow, now: int
) -> tuple[Envelope, bytes, ShardRow]:
    """The event, its bytes, and the shard row as it stands after it."""
    command, record = asked.command, asked.record
    sequence = row.sequence + 1
    event_id = position(row.shard, sequence)
    moment = max(now, row.last_time)
    time = timestamp(moment)
    name = _stream(asked, fact)
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
        streamversion=version,
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
        data=encode_fact(_sealed(asked, fact, key, name, event_id)),
    )
    value = encode_envelope(envelope)
    if len(value) > EVENT_BYTES_MAX:
        raise Malformed(f"an event has at most {EVENT_BYTES_MAX} bytes")
    return envelope, value, replace(row, sequence=sequence, head=digest(value), last_time=moment)


def usable(key: bytes | None, customer: Customer, ask: AnyAsk, fact: AnyFact) -> bytes | None:
    """What the fact is sealed with. Of an unknown customer there is no key, of an erased one none any more: nothing
    personal of them is kept. Whose key is lost can still be closed and erased.

    Raises:
        NoDataKey: there must be one.
    """
    if customer.erased or isinstance(fact, CustomerErased):
        return None
    told = isinstance(fact.personal, Personal) and fact.personal.foreign is not UNSET
    needed = told or customer.registered or isinstance(fact, CustomerRegistered)
    if key is None and needed and not isinstance(ask, CloseCustomer | EraseCustomer):
        raise NoDataKey("the key table has no key for a registered customer: is it an old backup?")
    return key


def _stream(asked: Asked, fact: AnyFact) -> str:
    other = asked.other(fact.CATEGORY)
    return stream_name("customer", asked.command.subject) if other is None else other.name


def _sealed(asked: Asked, fact: AnyFact, key: bytes | None, stream: str, event_id: str) -> AnyFact:
    """Personal data under the customer's key; where there is none, nothing of him is kept."""
    personal = fact.personal if isinstance(fact.personal, Personal) else Personal()
    if asked.command.idempotencykey is not UNSET:
        personal = replace(personal, idempotency_key=asked.command.idempotencykey)
    if key is None or personal == Personal():
        return replace(fact, personal=UNSET)
    return seal(replace(fact, personal=personal), key, stream, event_id)


def effects_of(fact: AnyFact) -> Iterator[tuple[str, str]]:
    """Rule and outcome of what followed for the wallet."""
    if isinstance(fact, PaymentRecorded | RefundRecorded | DisputeRecorded | RefundMadeToWallet):
        for effect in fact.effects:
            yield effect.rule, effect.withheld or ("short" if effect.short else "moved")
