"""Keyless commands and the callers' automatic retries of them, within one batch. No I/O."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from services.ledger.admission import Asked
from services.ledger.ports import Attempt, AttemptRow, Tried
from services.ledger.receipts import Receipt

DECLINED_MAX = 10_000
DECLINED_MICROS = 60 * 1_000_000
"""A caller repeats a 503 by itself within seconds."""


class _Note(NamedTuple):
    at: int
    repeat: str = ""


class Declines:
    """Keyless commands that were certainly not applied: each of their automatic retries is new, once.

    Without it such a retry would get the answer of an equal command of some minutes before. In this worker's memory
    only: a help, as all that is keyless. Kept by command ids, so that a batch may be decided again.
    """

    def __init__(self) -> None:
        self._notes: dict[Attempt, dict[str, _Note]] = {}

    def note(self, attempt: Attempt, command_id: str, now: int) -> None:
        """It was declined at `now`, in microseconds."""
        if len(self._notes) >= DECLINED_MAX:
            young = {
                one for one, notes in self._notes.items() if any(_is_young(n, now) for n in notes.values())
            }
            self._notes = {one: self._notes[one] for one in young}
        if len(self._notes) < DECLINED_MAX:
            self._notes.setdefault(attempt, {}).setdefault(command_id, _Note(now))

    def repeated(self, attempt: Attempt, command_id: str, now: int) -> bool:
        """Whether this command repeats one that was declined as `attempt`."""
        notes = self._notes.get(attempt, {})
        for declined, note in notes.items():
            if note.repeat == command_id or (not note.repeat and _is_young(note, now)):
                notes[declined] = note._replace(repeat=command_id)
                return True
        return False


def _is_young(note: _Note, now: int) -> bool:
    return now - note.at <= DECLINED_MICROS


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

        The retry has no receipt of its own: read again, it is known by its command id.
        """
        attempt = asked.command.attempt
        before = Attempt(asked.key.stream, hashed, attempt - 1)
        answered = self._known(Attempt(asked.key.stream, hashed, attempt))
        for tried in answered:
            if tried.command_id == asked.command.id:
                return tried.receipt
        if self._declines.repeated(before, asked.command.id, self._now):
            return None
        taken = {(tried.receipt.shard, tried.receipt.sequence) for tried in answered}
        for tried in self._known(before):
            if (tried.receipt.shard, tried.receipt.sequence) not in taken:
                self.note(asked, hashed, tried.receipt)
                return tried.receipt
        return None

    def note(self, asked: Asked, hashed: str, receipt: Receipt) -> None:
        """This is the command's answer."""
        stream, attempt, identity = asked.key.stream, asked.command.attempt, asked.command.id
        self._noted.setdefault(Attempt(stream, hashed, attempt), []).append(Tried(identity, receipt))
        self.rows.append(
            AttemptRow(receipt.shard, receipt.sequence, stream, hashed, attempt, self._now, identity)
        )

    def _known(self, attempt: Attempt) -> list[Tried]:
        return [*self._loaded.get(attempt, ()), *self._noted.get(attempt, ())]
