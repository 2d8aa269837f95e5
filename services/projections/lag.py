"""How far the read models are behind the topic, in records and in seconds."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping

SAMPLES_MAX = 600


class Lag:
    """Fed with the topic's ends and with what was applied; offsets, so that repeated records count too."""

    def __init__(self) -> None:
        self._done: dict[int, int] = {}
        self._waiting: dict[int, deque[tuple[float, int]]] = {}
        self._ends: dict[int, int] = {}

    def applied(self, offsets: Mapping[int, int]) -> None:
        """The next offset of each shard; never goes back."""
        for shard, offset in offsets.items():
            self._done[shard] = max(offset, self._done.get(shard, 0))

    def restart(self, offsets: Mapping[int, int]) -> None:
        """Records come from these offsets again."""
        self._done = dict(offsets)

    def observe(self, now: float, ends: Mapping[int, int], silent: Collection[int] = ()) -> None:
        """The topic's ends as of now; `silent` shards are as they were, others that are not named are no longer ours."""
        self._ends = {shard: end for shard, end in self._ends.items() if shard in silent} | dict(ends)
        for shard in self._waiting.keys() - ends.keys() - set(silent):
            del self._waiting[shard]
        for shard, end in ends.items():
            waiting = self._waiting.setdefault(shard, deque())
            while waiting and waiting[0][1] <= self._done.get(shard, 0):
                waiting.popleft()
            if end <= self._done.get(shard, 0) or (waiting and waiting[-1][1] >= end):
                continue
            if len(waiting) == SAMPLES_MAX:
                now_then, _ = waiting.pop()
                waiting.append((now_then, end))
            else:
                waiting.append((now, end))

    def records(self, without: Iterable[int] = ()) -> dict[int, int]:
        """By shard, those that are behind."""
        skipped = set(without)
        return {
            shard: end - self._done.get(shard, 0)
            for shard, end in self._ends.items()
            if end > self._done.get(shard, 0) and shard not in skipped
        }

    def seconds(self, now: float) -> float:
        """Since when the oldest record that is not applied has been seen."""
        return max((now - waiting[0][0] for waiting in self._waiting.values() if waiting), default=0.0)
