"""Events on their way to the topic, and how they are cut into Kafka's batches: between two commands."""

from collections import deque
from collections.abc import Iterable

from events.codec import decode_envelope
from services.ledger.ports import StoredRow

BATCH_EVENTS_MAX = 500
BATCH_BYTES_MAX = 768 * 1024
RECORD_BYTES = 64
"""What Kafka adds to a record, at most about."""


class Outgoing:
    """Of one shard, in order."""

    def __init__(self) -> None:
        self._events: deque[StoredRow] = deque()
        self.size = 0

    @property
    def last(self) -> int | None:
        return self._events[-1].sequence if self._events else None

    @property
    def fills_a_batch(self) -> bool:
        return len(self._events) > BATCH_EVENTS_MAX

    def put(self, events: Iterable[StoredRow]) -> None:
        for event in events:
            self._events.append(event)
            self.size += len(event.value)

    def drop(self, sequence: int) -> None:
        """All up to this one."""
        while self._events and self._events[0].sequence <= sequence:
            self.size -= len(self._events.popleft().value)

    def batch(self) -> list[StoredRow]:
        """What goes out together: whole commands, unless one is more than a batch."""
        batch: list[StoredRow] = []
        size = 0
        for event in self._events:
            size += len(event.value) + len(event.key) + RECORD_BYTES
            if batch and (size > BATCH_BYTES_MAX or len(batch) == BATCH_EVENTS_MAX):
                return _whole(batch, event)
            batch.append(event)
        return batch


def _whole(batch: list[StoredRow], following: StoredRow) -> list[StoredRow]:
    """Where the topic is all that is left, half a command would be taken for all of it, and its receipt with it."""
    command, end = _command(following), len(batch)
    while end and _command(batch[end - 1]) == command:
        end -= 1
    return batch[:end] or batch


def _command(event: StoredRow) -> str:
    return decode_envelope(event.value).commandid
