"""From snapshots and the events behind them to states: many streams in one pass, however long they are. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from uuid import UUID

from events.codec import Malformed, decode_envelope, decode_fact, digest
from services.ledger.batches import snapshots
from services.ledger.batches.snapshots import SNAPSHOT_EVERY, Snapshot
from services.ledger.domain.states import State, evolve_any, initial


class HistoryBroken(Exception):
    """A stream whose versions are not 1, 2, 3, …, or that cannot be read: what followed from it would be wrong."""


class Folding:
    """Run by run: `take` what the store holds from `wanted` on, then `end_run`, until nothing is wanted."""

    def __init__(
        self,
        streams: Iterable[UUID],
        found: Mapping[UUID, Snapshot],
        kinds: Mapping[UUID, str] = MappingProxyType({}),
    ) -> None:
        """`kinds`: categories of those streams that are not customers'."""
        self.states: dict[UUID, State] = {}
        self._kinds = kinds
        self._heads: dict[UUID, bytes] = {}
        """Of snapshots that the stored history has not borne out yet."""
        for stream in streams:
            row = found.get(stream)
            base = None if row is None else snapshots.read(row)
            if row is not None and base is not None:
                self._heads[stream] = row.head
            self.states[stream] = base or self._initial(stream)
        self._open = set(self.states)
        self._refused: set[UUID] = set()
        self._tails: Counter[UUID] = Counter()
        self._lasts: dict[UUID, bytes] = {}
        self.ignored = len(found) - len(self._heads)
        """Snapshots that were of no use."""
        self.broken: dict[UUID, HistoryBroken] = {}

    def wanted(self) -> dict[UUID, int]:
        """Streams and the versions from which to read: of a snapshot's the event that it ends with, too."""
        return {
            stream: self.states[stream].version + (stream not in self._heads) for stream in sorted(self._open)
        }

    def take(self, stream: UUID, version: int, value: bytes) -> None:
        """The next event of a stream."""
        if stream in self.broken:
            return
        state = self.states[stream]
        head = self._heads.pop(stream, None)
        if head is not None and (version, digest(value)) != (state.version, head):
            self.states[stream] = self._initial(stream)
            self._refused.add(stream)
            self.ignored += 1
        if head is not None or stream in self._refused:
            return
        if version != state.version + 1:
            self._break(stream, f"event {version} after {state.version}")
            return
        try:
            envelope = decode_envelope(value)
            fact = decode_fact(envelope)
            self.states[stream] = evolve_any(state, fact, envelope.time, envelope.effectivetime)
        except (Malformed, AssertionError) as error:
            self._break(stream, f"event {version}: {type(error).__name__}")
            return
        self._tails[stream] += 1
        self._lasts[stream] = value

    def end_run(self, whole: bool) -> None:
        """`whole`: the store has no more of what was wanted. Streams whose snapshot was refused begin again."""
        if whole:
            self._open = self._refused | self._heads.keys()
            self.ignored += len(self._heads)
            # not even the snapshot's own event is there
            self.states |= {s: self._initial(s) for s in self._heads}
            self._heads.clear()
        self._refused = set()

    def worth_keeping(self) -> list[Snapshot]:
        """Of streams that were long to fold."""
        return [
            snapshots.snapshot(stream, self.states[stream], digest(self._lasts[stream]))
            for stream, tail in self._tails.items()
            if tail >= SNAPSHOT_EVERY
        ]

    def _break(self, stream: UUID, why: str) -> None:
        del self.states[stream]
        self._tails.pop(stream, None)
        self._open.discard(stream)
        self.broken[stream] = HistoryBroken(why)

    def _initial(self, stream: UUID) -> State:
        return initial(self._kinds.get(stream, "customer"))
