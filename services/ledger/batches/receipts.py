"""Receipts: what an idempotency key got, found again for ever. Pure.

A receipt is a projection of the event that carries its key hash and request hash, so the table
can be rebuilt from the topic alone.
"""

import hashlib
import hmac
from typing import NamedTuple
from uuid import UUID

from msgspec import UNSET

from events.codec import business_fields
from events.commands import AnyAsk, Command
from events.envelope import Envelope
from events.upstream import Named


class ReceiptKey(NamedTuple):
    """`stream` stands for tenant and customer; keys of different origins never collide."""

    stream: UUID
    origin: str
    key_hash: bytes


class Receipt(NamedTuple):
    """`event` is the outcome's stored bytes, from which the answer is built again; empty where the store lacks them."""

    request_hash: str
    shard: int
    sequence: int
    event: bytes


class ReceiptRow(NamedTuple):
    """As stored: all of it stands in the event."""

    stream: UUID
    origin: str
    key_hash: bytes
    request_hash: str
    shard: int
    sequence: int
    command_id: str
    command_position: int

    @property
    def key(self) -> ReceiptKey:
        return ReceiptKey(self.stream, self.origin, self.key_hash)


def key_hash(command: Command) -> bytes:
    """SHA-256 of the idempotency key; of the command id where there is none (a key holds no NUL)."""
    if command.idempotencykey is UNSET:
        return hashlib.sha256(b"\x00command\x00" + command.id.encode()).digest()
    return hashlib.sha256(command.idempotencykey.encode()).digest()


def receipt_key(command: Command, stream: UUID) -> ReceiptKey:
    return ReceiptKey(stream, command.origin.value, key_hash(command))


def request_hash(secret: bytes, command: Command, ask: AnyAsk) -> str:
    """`version:HMAC-SHA-256` over the named business fields (RFC 2104).

    Keyed, because a bare hash of a name or an amount could be guessed by trying.
    """
    head = f"{command.type}\x00{command.tenant}\x00{command.subject}\x00".encode()
    return "1:" + hmac.digest(secret, head + business_fields(ask), "sha256").hex()


def print_of(secret: bytes, command: Command, named: Named) -> str:
    """Tells whether upstream names a customer otherwise than before, and nothing else."""
    head = f"named\x00{command.tenant}\x00{command.subject}\x00".encode()
    return hmac.digest(secret, head + business_fields(named), "sha256").hex()[:16]


def material_of(key: ReceiptKey) -> bytes:
    """What the names of all that a receipt makes follow from."""
    return key.stream.bytes + key.origin.encode() + key.key_hash


def row_of(envelope: Envelope) -> ReceiptRow:
    """The receipt that an event carries."""
    return ReceiptRow(
        stream=envelope.owner,
        origin=envelope.origin.value,
        key_hash=bytes.fromhex(envelope.keyhash),
        request_hash=envelope.requesthash,
        shard=envelope.shard,
        sequence=int(envelope.sequence),
        command_id=envelope.commandid,
        command_position=envelope.commandposition,
    )
