"""Whether commands may be handed to Kafka. What its client has queued it keeps: so refuse before, not after."""

import asyncio
from collections import deque
from time import monotonic

from services.api import metrics

UNACKNOWLEDGED_SECONDS_MAX = 2.0

Sent = tuple[float, "asyncio.Future[object]"]


class Breaker:
    """Closed for a shard whose oldest record waits too long for its acknowledgement; for all while Kafka is away."""

    def __init__(self, shards: int) -> None:
        self._unacknowledged: list[deque[Sent]] = [deque() for _ in range(shards)]
        self._stuck: frozenset[int] = frozenset()
        self.reachable = True

    def refuses(self, shard: int) -> bool:
        """True: a record handed over now might lie there past its deadline."""
        return not self.reachable or shard in self._stuck

    def handed_over(self, shard: int, acknowledged: "asyncio.Future[object]") -> None:
        self._unacknowledged[shard].append((monotonic(), acknowledged))

    def sweep(self) -> None:
        """Forget what was acknowledged and look how old the oldest of the rest is."""
        too_old = monotonic() - UNACKNOWLEDGED_SECONDS_MAX
        stuck = []
        for shard, waiting in enumerate(self._unacknowledged):
            while waiting and waiting[0][1].done():
                _, done = waiting.popleft()
                if not done.cancelled() and done.exception() is not None:
                    metrics.command("not_acknowledged")
            if waiting and waiting[0][0] < too_old:
                stuck.append(shard)
        self._stuck = frozenset(stuck)
        share = len(stuck) / len(self._unacknowledged)
        metrics.BREAKER_OPEN.set(share if self.reachable else 1)

    @property
    def problem(self) -> str | None:
        """For people; None while all is well."""
        if not self.reachable:
            return "the brokers do not answer"
        if self._stuck:
            return f"{len(self._stuck)} partitions do not acknowledge"
        return None
