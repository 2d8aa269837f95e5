"""Keyless commands and the callers' automatic retries of them, within one batch. No I/O."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from events.commands import EraseCustomer
from services.ledger.batches.admission import Asked
from services.ledger.batches.receipts import Receipt
from services.ledger.ports import Attempt, AttemptRow, Tried

PRINTS_MAX = 10_000
DECLINED_MAX = 100
"""Of one print."""
DECLINED_MICROS = 15 * 1_000_000
"""A caller repeats a 503 by itself within seconds."""


class _Note(NamedTuple):
    at: int
    sequence: int
    repeat: str = ""


class Declines:
    """Keyless commands whose callers were told that they were not applied: each of their automatic retries is new, once.

    Without it such a retry would get the answer of an equal command of some minutes before. But what was applied after
    a decline is likelier what is repeated. In this worker's memory only: a help, as all that is keyless. Kept by command
    ids, so that a batch may be decided again.
    """

    def __init__(self) -> None:
        self._notes: dict[Attempt, dict[str, _Note]] = {}

    def note(self, attempt: Attempt, command_id: str, now: int, sequence: int) -> None:
        """It was declined at `now`, in microseconds, when its shard had come to `sequence`."""
        if len(self._notes) >= PRINTS_MAX:
            self._notes = {one: kept for one, notes in self._notes.items() if (kept := _young(notes, now))}
        if attempt in self._notes or len(self._notes) < PRINTS_MAX:
            notes = self._notes[attempt] = _young(self._notes.get(attempt, {}), now)
            if len(notes) < DECLINED_MAX:
                notes.setdefault(command_id, _Note(now, sequence))

    def repeated(self, attempt: Attempt, command_id: str, now: int, applied: int) -> bool:
        """Whether this command repeats one that was declined as `attempt`. `applied`: sequence of the last that was not."""
        notes = self._notes.get(attempt, {})
        for declined, note in _young(notes, now).items():
            if note.repeat == command_id or (not note.repeat and applied <= note.sequence):
                notes[declined] = note._replace(repeat=command_id)
                return True
        return False


def _young(notes: Mapping[str, _Note], now: int) -> dict[str, _Note]:
    return {declined: note for declined, note in notes.items() if now - note.at <= DECLINED_MICROS}


class Attempts:
    """`loaded`: what the store knows of those asked for. `rows`: what this batch adds."""

    def __init__(self, loaded: Mapping[Attempt, Sequence[Tried]], declines: Declines, now: int) -> None:
        self._loaded = loaded
        self._declines = declines
        self._noted: dict[Attempt, list[Tried]] = {}
        self._now = now
        self.rows: list[AttemptRow] = []

    def match(self, asked: Asked, hashed: str) -> Receipt | None:
        """An automatic retry (attempt n) answers for one keyless command of the same print and n - 1, once.

        The retry has no receipt of its own: read again, it is known by its command id, as long as that is kept. An
        erasure has no deadline: read again after that it would be new, so it gets its own outcome and receipt.
        """
        if isinstance(asked.ask, EraseCustomer):
            return None
        attempt = asked.command.attempt
        before = Attempt(asked.key.stream, hashed, attempt - 1)
        answered = self._known(Attempt(asked.key.stream, hashed, attempt))
        for tried in answered:
            if tried.command_id == asked.command.id:
                return tried.receipt
        taken = {(tried.receipt.shard, tried.receipt.sequence) for tried in answered}
        free = [
            tried.receipt
            for tried in self._known(before)
            if (tried.receipt.shard, tried.receipt.sequence) not in taken
        ]
        last = max((receipt.sequence for receipt in free), default=0)
        if not free or self._declines.repeated(before, asked.command.id, self._now, last):
            return None
        self.note(asked, hashed, free[0])
        return free[0]

    def note(self, asked: Asked, hashed: str, receipt: Receipt) -> None:
        """This is the command's answer."""
        stream, attempt, identity = asked.key.stream, asked.command.attempt, asked.command.id
        self._noted.setdefault(Attempt(stream, hashed, attempt), []).append(Tried(identity, receipt))
        self.rows.append(
            AttemptRow(receipt.shard, receipt.sequence, stream, hashed, attempt, self._now, identity)
        )

    def _known(self, attempt: Attempt) -> list[Tried]:
        return [*self._loaded.get(attempt, ()), *self._noted.get(attempt, ())]
