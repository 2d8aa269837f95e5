"""Names of things. No identifier derives from a clock, a random source or a Kafka offset."""

import hashlib
from functools import lru_cache
from typing import Annotated, NewType
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec
from msgspec import Meta

CustomerId = NewType("CustomerId", str)
EntryId = Annotated[str, Meta(pattern=r"^wle_[0-9A-Za-z]{21}\Z")]
BlockId = Annotated[str, Meta(pattern=r"^blk_[0-9A-Za-z]{21}\Z")]
RefundId = Annotated[
    str, Meta(pattern=r"^ref_[0-9A-Za-z]{21}\Z", description="made by us; upstream keeps it")
]
TopUpId = Annotated[str, Meta(pattern=r"^top_[0-9A-Za-z]{21}\Z")]
ChangeId = Annotated[str, Meta(pattern=r"^scr_[0-9A-Za-z]{21}\Z")]
SettlementId = Annotated[str, Meta(pattern=r"^set_[0-9A-Za-z]{21}\Z")]

_NAMESPACE = uuid5(NAMESPACE_URL, "urn:wallet-ledger:stream")
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS = [low + high for high in _ALPHABET for low in _ALPHABET]
_TAIL_LENGTH = 21


class Tenant(msgspec.Struct, frozen=True):
    """A business in one mode: test and live data never meet."""

    business_id: str
    mode: str

    def __str__(self) -> str:
        return f"{self.business_id}/{self.mode}"


def stream_name(category: str, identifier: str) -> str:
    """`customer-cus_…`: what an auditor reads."""
    return f"{category}-{identifier}"


def stream_id(tenant: Tenant, name: str) -> UUID:
    """Where a stream is stored: no tenant can name another's (RFC 9562, version 5)."""
    return uuid5(_NAMESPACE, f"{tenant}/{name}")


@lru_cache(maxsize=65_536)
def owner_of(tenant: Tenant, customer_id: str) -> UUID:
    """The customer's own stream: also stands for him in receipts, and whose data key it is."""
    return stream_id(tenant, stream_name("customer", customer_id))


def place_of(tenant: Tenant, customer_id: str, name: str) -> UUID:
    """Where a stream of this customer is stored.

    One payment that upstream says is of two customers has two streams: no stream is written by two shards.
    Customers come back, payments hardly: those would only fill the memory of a cache.
    """
    own = stream_name("customer", customer_id)
    return owner_of(tenant, customer_id) if name == own else stream_id(tenant, f"{own}/{name}")


def customer_id_from_key(tenant: Tenant, key: str) -> CustomerId:
    """A repeated `POST /customers` with the same key meets the same customer, and there its receipt."""
    return CustomerId(derived("cus_", f"{tenant}|{key}"))


def entry_id(receipt_identity: bytes) -> str:
    """One entry per receipt, so its name follows from the receipt's key."""
    return derived("wle_", receipt_identity.hex())


def derived(prefix: str, material: str) -> str:
    """`prefix` and 21 characters of [0-9A-Za-z] (125 bits of SHA-256)."""
    number = int.from_bytes(hashlib.sha256(f"{prefix}|{material}".encode()).digest())
    tail = []
    for _ in range(_TAIL_LENGTH // 2):
        number, pair = divmod(number, len(_PAIRS))
        tail.append(_PAIRS[pair])
    return prefix + "".join(tail) + _ALPHABET[number % len(_ALPHABET)]


def position(shard: int, sequence: int) -> str:
    """`<shard>:<sequence>`, the `Ledger-Position` of answers."""
    return f"{shard}:{sequence}"


def parse_position(text: str) -> tuple[int, int]:
    """Inverse of `position`.

    Raises:
        ValueError: it is not two plain numbers.
    """
    shard, colon, sequence = text.partition(":")
    if not colon or not (shard.isascii() and shard.isdigit() and sequence.isascii() and sequence.isdigit()):
        raise ValueError("a position is <shard>:<sequence>")
    if len(shard) > 4 or len(sequence) > 19:
        raise ValueError("a position has at most 4 and 19 digits")
    return int(shard), int(sequence)
