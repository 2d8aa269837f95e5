"""Bytes <-> envelopes, facts and commands; and the chain over those bytes."""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import msgspec
from msgspec import Raw

from events.commands import ASKS, BULKS, AnyAsk, AnyBulk, BulkFact, Command
from events.envelope import Envelope
from events.facts import FACTS, AnyFact
from events.replies import Reply
from events.times import written
from events.upcasters import upcast
from events.upstream import Named, RecordUpstream

EVENT_BYTES_MAX = 256 * 1024
COMMAND_BYTES_MAX = 256 * 1024

_encoder = msgspec.json.Encoder()
_sorted_encoder = msgspec.json.Encoder(order="sorted")
_envelopes = msgspec.json.Decoder(Envelope)
_commands = msgspec.json.Decoder(Command)
_replies = msgspec.json.Decoder(Reply)
_facts = {name: msgspec.json.Decoder(fact) for name, fact in FACTS.items()}
_asks: dict[str, msgspec.json.Decoder[AnyAsk | AnyBulk]] = {
    name: msgspec.json.Decoder(ask) for name, ask in (ASKS | BULKS).items()
}
_told = {name: msgspec.json.Decoder(ask) for name, ask in ASKS.items() if issubclass(ask, RecordUpstream)}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_QUOTED = re.compile(r""" (['"]).*\1(?= - at `[^`]*`\Z|\Z)""", re.DOTALL)  # a value, as msgspec repeats it


class Malformed(ValueError):
    """Bytes that are not what their topic promises: a caller's bug, never stored as a fact."""


@lru_cache(maxsize=1024)
def timestamp(micros: int) -> str:
    """Microseconds since 1970 as RFC 3339 in UTC, always with six decimals."""
    return written(_EPOCH + timedelta(microseconds=micros))


def micros(text: str) -> int:
    """Inverse of `timestamp`.

    Raises:
        Malformed: the pattern fits but there is no such moment.
    """
    try:
        return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, TypeError) as error:
        raise Malformed(f"no such time: {text[:40]}") from error


def digest(value: bytes) -> bytes:
    """Link of the chain: over the stored bytes themselves, so no canonical form is needed."""
    return hashlib.sha256(value).digest()


def genesis(ledger_id: str, shard: int) -> bytes:
    """What the first event of a shard names as its predecessor."""
    return digest(f"wallet-ledger/genesis/1|{ledger_id}|{shard}".encode())


def encode_fact(fact: AnyFact) -> Raw:
    """The `data` of an event.

    Raises:
        AssertionError: personal data was not sealed before.
    """
    assert fact.personal is msgspec.UNSET, "personal data must be sealed before it is encoded"
    return Raw(_encoder.encode(fact))


def encode_envelope(envelope: Envelope) -> bytes:
    """The bytes that are stored, published and chained."""
    return _encoder.encode(envelope)


def decode_envelope(value: bytes) -> Envelope:
    """Raises Malformed."""
    try:
        return _envelopes.decode(value)
    except _UNREADABLE as error:
        raise Malformed(f"not an event: {error}") from error


def decode_fact(envelope: Envelope) -> AnyFact:
    """The fact in its newest form; older stored forms go through their upcasters. Raises Malformed."""
    decoder = _facts.get(envelope.type)
    try:
        if decoder is not None:
            return decoder.decode(envelope.data)
        newest, data = upcast(envelope.type, msgspec.json.decode(envelope.data))
        return msgspec.convert(data, FACTS[newest])
    except KeyError as error:
        raise Malformed(f"unknown type of event: {envelope.type[:64]}") from error
    except _UNREADABLE as error:
        raise Malformed(f"not a {envelope.type[:64]}: {error}") from error


def encode_command(command: Command) -> bytes:
    return _encoder.encode(command)


def encode_ask(ask: AnyAsk | AnyBulk) -> Raw:
    return Raw(_encoder.encode(ask))


def decode_command(value: bytes) -> tuple[Command, AnyAsk | AnyBulk]:
    """Raises Malformed, with a text that names no value of the command."""
    if len(value) > COMMAND_BYTES_MAX:
        raise Malformed(f"a command has at most {COMMAND_BYTES_MAX} bytes")
    try:
        command = _commands.decode(value)
        decoder = _asks.get(command.type)
        if decoder is None:
            raise Malformed("unknown type of command")
        return command, decoder.decode(command.data)
    except _UNREADABLE as error:
        raise Malformed(f"not a command: {_QUOTED.sub('', str(error))}") from error


def decode_told(fact: BulkFact) -> RecordUpstream:
    """Raises Malformed, with a text that names no value."""
    decoder = _told.get(fact.type)
    if decoder is None:
        raise Malformed("a fact in bulk is something that upstream said")
    try:
        return decoder.decode(fact.data)
    except _UNREADABLE as error:
        raise Malformed(f"not a fact: {_QUOTED.sub('', str(error))}") from error


def business_fields(ask: AnyAsk | Named) -> bytes:
    """What a request hash is made over: the named fields in one order, absent ones left out."""
    return _sorted_encoder.encode(ask)


def encode_reply(reply: Reply) -> bytes:
    return _encoder.encode(reply)


def decode_reply(value: bytes) -> Reply:
    """Raises Malformed."""
    try:
        return _replies.decode(value)
    except _UNREADABLE as error:
        raise Malformed(f"not a reply: {error}") from error
