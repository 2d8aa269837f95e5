"""Writes that were answered "not applied" before the ledger heard of them: the SDK's retry of each is new.

The ledger takes a keyless retry (`x-stainless-retry-count` n) for the repetition of an equal command with n - 1 of the last
15 minutes. Where the one that is really repeated never came to it, the caller would get the answer of another, and
nothing would be done. In this process's memory only: a help, as all that is keyless.
"""

from collections.abc import Hashable, Sequence

KEPT_MAX = 10_000
KEPT_SECONDS = 90.0
"""The SDK follows a `Retry-After` of up to a minute."""

Note = tuple[float, int]
"""When, and as which attempt the next repetition goes to the ledger."""


class TurnedAway:
    """`request`: what a repetition has in common with it, and its number; `now` in seconds."""

    def __init__(self) -> None:
        self._notes: dict[int, list[Note]] = {}

    def note(self, request: Hashable, now: float, following: int) -> None:
        """What follows this request is attempt `following` for the ledger."""
        if len(self._notes) >= KEPT_MAX:
            self._notes = {one: kept for one, notes in self._notes.items() if (kept := _young(notes, now))}
        name = hash(request)  # it holds a secret
        if name in self._notes or len(self._notes) < KEPT_MAX:
            self._notes[name] = [*_young(self._notes.get(name, ()), now), (now, following)]

    def take(self, request: Hashable, now: float) -> int | None:
        """As which attempt the repetition of this request goes on, once for each note; None: as what it says."""
        name = hash(request)
        notes = _young(self._notes.pop(name, ()), now)
        if notes[1:]:
            self._notes[name] = notes[1:]
        return notes[0][1] if notes else None


def _young(notes: Sequence[Note], now: float) -> list[Note]:
    return [note for note in notes if now - note[0] <= KEPT_SECONDS]
