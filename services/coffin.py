"""Records that were put aside: each sealed under the key of its month."""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec

from events.codec import timestamp
from events.dead_letters import SealedLetter
from events.sealing import open_bytes, seal_bytes
from services.keyring import DataKeys


class DeadLetter(NamedTuple):
    """What could not be taken, and why: for operators."""

    shard: int
    offset: int
    value: bytes
    code: str
    message: str


class MonthlyCoffin:
    """For records of one topic; `micros` since 1970."""

    def __init__(self, topic: str, keys: DataKeys, micros: Callable[[], int]) -> None:
        self._topic = topic
        self._keys = keys
        self._micros = micros

    async def seal(self, letter: DeadLetter) -> tuple[bytes, bytes]:
        """Key and value for `ledger.dead-letters`.

        Raises:
            NoKey: that of this month.
        """
        shard, offset, value, code, message = letter
        now = timestamp(self._micros())
        month, place = now[:7], f"{self._topic}/{shard}/{offset}"
        key = await self._keys.named(month_owner(month), f"dead letters of {month}")
        body = SealedLetter(
            topic=self._topic,
            partition=shard,
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


def past_owners(now: datetime) -> list[UUID]:
    """Owners of the keys of a year's months whose dead letters are past their retention, the last three left out."""
    months = (now.year * 12 + now.month - 1 - back for back in range(3, 15))
    return [month_owner(f"{month // 12:04}-{month % 12 + 1:02}") for month in months]


def month_owner(month: str) -> UUID:
    """Owner of the key under which the dead letters of a month (`2026-11`) lie."""
    return uuid5(NAMESPACE_URL, f"urn:wallet-ledger:dead-letters:{month}")
