"""Many entries at once: one record for each shard of their customers, and one outcome for each entry."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from msgspec import UNSET, Raw

from events.codec import COMMAND_BYTES_MAX
from events.commands import BULK_CUSTOMERS_MAX, BulkEntry, EnterInBulk
from events.ids import parse_position
from events.replies import Outcome, Reply
from events.sharding import shard_of
from services.api import errors
from services.api.asking import Asking, not_applied
from services.api.auth import Caller
from services.api.call import Call
from services.api.shapes.bulk import BulkItem, BulkOutcome
from services.api.shapes.customers import or_unset

ENVELOPE_BYTES = 4 * 1024
RECORD_BYTES_MAX = COMMAND_BYTES_MAX - ENVELOPE_BYTES

_encode = msgspec.json.Encoder().encode


class Record(NamedTuple):
    """What one shard gets: all entries of some customers. `places` are those of its entries in the request."""

    subject: str
    shard: int
    places: list[int]
    data: Raw


class Entered(NamedTuple):
    """Outcomes in the order of the items; `positions`: the highest of each shard."""

    outcomes: list[BulkOutcome]
    positions: dict[int, int]


async def enter(asking: Asking, call: Call, caller: Caller, records: Sequence[Record], count: int) -> Entered:
    """Ask for all records at once.

    Raises:
        ApiError: of no record anything is known.
    """
    call.keyed = True  # each item
    found = await asyncio.gather(*(_ask(asking, call, caller, record) for record in records))
    if all(isinstance(one, errors.ApiError) and one.status in (503, 504) for one in found):
        raise max((one for one in found if isinstance(one, errors.ApiError)), key=lambda one: one.status)
    outcomes: dict[int, BulkOutcome] = {}
    positions: dict[int, int] = {}
    for record, one in zip(records, found, strict=True):
        if isinstance(one, errors.ApiError):
            outcomes |= dict.fromkeys(record.places, _failed(one))
            continue
        assert len(one.entries) == len(record.places), "an answer has an outcome for each entry"
        outcomes |= zip(record.places, map(_outcome, one.entries), strict=True)
        if one.position:
            shard, sequence = parse_position(one.position)
            positions[shard] = max(sequence, positions.get(shard, 0))
    return Entered([outcomes[place] for place in range(count)], positions)


async def _ask(asking: Asking, call: Call, caller: Caller, record: Record) -> Reply | errors.ApiError:
    command = asking.command(call, caller, record.subject, EnterInBulk.TYPE, record.data)
    try:
        reply = await asking.ask(command, keyed=True)
    except errors.ApiError as error:
        return error
    return reply if reply.outcome is Outcome.APPLIED else not_applied(reply)


def split(items: Sequence[BulkItem], all_or_nothing: bool, shards: int) -> list[Record]:
    """Items of one customer stay together and in order.

    Raises:
        ApiError: those of one customer are too large for a record.
    """
    by_customer: defaultdict[str, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        by_customer[item.customer_id].append(place)
    by_shard: defaultdict[int, list[tuple[str, list[int], list[bytes]]]] = defaultdict(list)
    for customer, places in by_customer.items():
        encoded = [_encode(_entry(items[place])) for place in places]
        by_shard[shard_of(customer, shards)].append((customer, places, encoded))
    return [
        Record(
            part[0][0],
            shard,
            [place for _, places, _ in part for place in places],
            _data(part, all_or_nothing),
        )
        for shard, customers in by_shard.items()
        for part in _parts(customers)
    ]


def _parts(
    customers: Sequence[tuple[str, list[int], list[bytes]]],
) -> Iterator[list[tuple[str, list[int], list[bytes]]]]:
    """As few records as their limits allow."""
    part: list[tuple[str, list[int], list[bytes]]] = []
    room = RECORD_BYTES_MAX
    for one in customers:
        size = sum(map(len, one[2])) + len(one[2])
        if size > RECORD_BYTES_MAX:
            raise errors.payload_too_large(RECORD_BYTES_MAX, of="The items of one customer have")
        if part and (size > room or len(part) == BULK_CUSTOMERS_MAX):
            yield part
            part, room = [], RECORD_BYTES_MAX
        part.append(one)
        room -= size
    yield part


def _data(part: Sequence[tuple[str, list[int], list[bytes]]], all_or_nothing: bool) -> Raw:
    """`EnterInBulk`, from entries that are encoded already."""
    entries = b",".join(entry for _, _, encoded in part for entry in encoded)
    return Raw(b'{"all_or_nothing":%b,"entries":[%b]}' % (b"true" if all_or_nothing else b"false", entries))


def _entry(item: BulkItem) -> BulkEntry:
    return BulkEntry(
        customer_id=item.customer_id,
        entry_type=item.entry_type,
        currency=item.currency,
        amount=item.amount,
        idempotency_key=item.idempotency_key,
        reason=or_unset(item.reason),
        reference=or_unset(item.reference),
    )


def _outcome(reply: Reply) -> BulkOutcome:
    if reply.outcome is not Outcome.APPLIED:
        return _failed(not_applied(reply), reply)
    return BulkOutcome(
        status=200,
        replayed=reply.replayed,
        entry_id=reply.entry_id,
        balance=None if reply.balance_after is UNSET else reply.balance_after,
        created_at=datetime.fromisoformat(reply.time),
        ledger_position=reply.position,
    )


def _failed(error: errors.ApiError, reply: Reply | None = None) -> BulkOutcome:
    return BulkOutcome(
        status=error.status,
        code=error.code,
        message=error.message,
        replayed=reply is not None and reply.replayed,
        ledger_position=reply.position if reply is not None and reply.position else None,
    )
