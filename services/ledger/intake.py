"""From a record to a command that this shard may decide, or to the reason why not. Pure."""

import hashlib
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from events.codec import Malformed, decode_command, micros
from events.commands import Command, CustomerAsk, ReplyTo
from events.ids import stream_id, stream_name
from events.replies import Outcome
from events.sharding import shard_of
from services.ledger.ports import CommandRecord
from services.ledger.receipts import ReceiptKey, receipt_key


class Asked(NamedTuple):
    """A command that will be decided."""

    record: CommandRecord
    command: Command
    ask: CustomerAsk
    key: ReceiptKey


class Rejected(NamedTuple):
    """A record that will not: it leaves no event and no receipt, only its position is taken."""

    record: CommandRecord
    identity: str
    replyto: str
    outcome: Outcome
    code: str
    message: str


class _Address(msgspec.Struct):
    """What can be saved of a command that is otherwise wrong."""

    replyto: ReplyTo


def read(record: CommandRecord, shards: int, now: int, available: bool) -> Asked | Rejected:
    """`now` in microseconds; `available` false while the shard may take nothing (its relay is too far behind)."""
    try:
        command, ask = decode_command(record.value)
        deadline = None if command.deadline is UNSET else micros(command.deadline)
        if command.effectivetime is not UNSET:
            micros(command.effectivetime)
    except Malformed as error:
        return _rejected(record, Outcome.MALFORMED, "INVALID_COMMAND", str(error))
    if shard_of(command.subject, shards) != record.shard:
        return _rejected(record, Outcome.MALFORMED, "WRONG_SHARD", "the customer lives in another partition")
    if deadline is not None and deadline < now:
        return _rejected(record, Outcome.LATE, "DEADLINE_EXCEEDED", "read after its deadline; not applied")
    if not available:
        return _rejected(
            record, Outcome.UNAVAILABLE, "SHARD_UNAVAILABLE", "events cannot be published; not applied"
        )
    stream = stream_id(command.tenant, stream_name("customer", command.subject))
    return Asked(record, command, ask, receipt_key(command, stream))


def identity(value: bytes) -> str:
    """How a record is recognised again at its offset: by its command id, else by its bytes."""
    try:
        return decode_command(value)[0].id
    except Malformed:
        return "sha256:" + hashlib.sha256(value).hexdigest()


def unstorable(record: CommandRecord) -> Rejected:
    """A command whose facts the store refuses: put aside, so that the partition goes on."""
    return _rejected(record, Outcome.MALFORMED, "UNSTORABLE", "the store refuses what follows from it")


def _rejected(record: CommandRecord, outcome: Outcome, code: str, message: str) -> Rejected:
    try:
        replyto = msgspec.json.decode(record.value, type=_Address).replyto
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        replyto = ""
    return Rejected(record, identity(record.value), replyto, outcome, code, message)
