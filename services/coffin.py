"""Records that were put aside: each sealed under the key of its month."""

from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec

from events.dead_letters import SealedLetter
from events.sealing import open_bytes, seal_bytes


def sealed(
    key: bytes, topic: str, partition: int, offset: int, value: bytes, code: str, message: str, *, now: str
) -> tuple[bytes, bytes]:
    """Key and value of the record for `ledger.dead-letters`; `key` is that of the month of `now`."""
    month, place = now[:7], f"{topic}/{partition}/{offset}"
    body = SealedLetter(
        topic=topic,
        partition=partition,
        offset=offset,
        time=now,
        code=code,
        message=message,
        month=month,
        sealed=seal_bytes(key, value, f"{month}|{place}".encode()),
    )
    return place.encode(), msgspec.json.encode(body)


def opened(key: bytes, letter: SealedLetter) -> bytes:
    """The record as it was found. Raises Unsealable."""
    place = f"{letter.topic}/{letter.partition}/{letter.offset}"
    return open_bytes(key, letter.sealed, f"{letter.month}|{place}".encode())


def month_owner(month: str) -> UUID:
    """Owner of the key under which the dead letters of a month (`2026-11`) lie."""
    return uuid5(NAMESPACE_URL, f"urn:wallet-ledger:dead-letters:{month}")
