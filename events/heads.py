"""Signed heads: what the log was at a moment, said by somebody who cannot be made to say otherwise later.

The chain of hashes shows changes to whoever has a head. Who controls the ledger could write another chain; a head that was
signed and kept elsewhere is not of that chain. One line of JSON, Ed25519 (RFC 8032) over the very characters of `statement`.
"""

import base64
import binascii
from typing import Annotated, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta, Struct

from events.times import Timestamp

KIND: Literal["wallet-ledger.heads.v1"] = "wallet-ledger.heads.v1"


class Head(Struct, frozen=True):
    """An event of a shard, and the SHA-256 of its bytes in hex: with it, of all before it."""

    shard: Annotated[int, Meta(ge=0)]
    sequence: Annotated[int, Meta(ge=1)]
    hash: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Heads(Struct, frozen=True, kw_only=True):
    """A head of each shard that had events."""

    kind: Literal["wallet-ledger.heads.v1"] = KIND
    time: Timestamp
    heads: list[Head]


class SignedHeads(Struct, frozen=True):
    """`statement`: Heads as JSON, as they were signed; `signature`: base64."""

    statement: str
    signature: str


class NotSigned(ValueError):
    """Not of this key, changed since, or no signed heads at all."""


_line = msgspec.json.Decoder(SignedHeads)
_statement = msgspec.json.Decoder(Heads)


def signed(heads: Heads, key: Ed25519PrivateKey) -> bytes:
    """One line, without its end."""
    statement = msgspec.json.encode(heads)
    signature = base64.b64encode(key.sign(statement)).decode()
    return msgspec.json.encode(SignedHeads(statement.decode(), signature))


def opened(line: bytes, key: Ed25519PublicKey) -> Heads:
    """What was signed.

    Raises:
        NotSigned: by this key it was not.
    """
    try:
        found = _line.decode(line)
        key.verify(base64.b64decode(found.signature, validate=True), found.statement.encode())
        return _statement.decode(found.statement)
    except InvalidSignature as error:
        raise NotSigned("another key signed it, or it was changed") from error
    except (msgspec.DecodeError, binascii.Error, UnicodeError, RecursionError) as error:
        raise NotSigned(f"these are no signed heads: {type(error).__name__}") from error
