"""How long each shard was silent: from one answer to a movement of money to the next."""

import time
from typing import NamedTuple

from events.sharding import shard_of

SILENCE_SECONDS_MIN = 1.0
SILENCE_REQUESTS = 12
"""A shard that works is never silent for as long as so many requests to it take on average."""


class Silence(NamedTuple):
    """Of one shard."""

    shard: int
    began: float
    ended: float


class Pulse:
    """Hears every answer that came of a decision."""

    def __init__(self, shards: int, per_second: int) -> None:
        self.silence_seconds = max(SILENCE_SECONDS_MIN, SILENCE_REQUESTS * shards / (per_second * 0.8))
        self._shards = shards
        self._last = [time.monotonic()] * shards
        self._silences: list[Silence] = []

    def heard(self, customer: str) -> None:
        now, shard = time.monotonic(), shard_of(customer, self._shards)
        if now - self._last[shard] > self.silence_seconds:
            self._silences.append(Silence(shard, self._last[shard], now))
        self._last[shard] = now

    def silent(self) -> list[int]:
        """Shards that do not answer."""
        now = time.monotonic()
        return [shard for shard, last in enumerate(self._last) if now - last > self.silence_seconds]

    def answered_since(self, at: float) -> bool:
        """Whether each shard has."""
        return all(last > at for last in self._last)

    def well_again(self, since: float) -> float:
        """When the last shard that was silent after `since` had answered again; `since` if none was."""
        return max((one.ended for one in self._silences if one.ended > since), default=since)
