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
    """`request`: what its repetitions have in common; `said`: their number as the SDK counts; `now` in seconds."""

    def __init__(self) -> None:
        self._notes: dict[int, list[Note]] = {}

    def attempt(self, request: Hashable, said: int, now: float) -> int:
        """The number as which this one goes to the ledger. Each note is for one repetition."""
        if not said:
            return 0
        name = hash((request, said - 1))
        notes = _young(self._notes.pop(name, ()), now)
        if notes[1:]:
            self._notes[name] = notes[1:]
        return notes[0][1] if notes else said

    def ended(self, request: Hashable, said: int, went_as: int, now: float, *, turned_away: bool) -> None:
        """What follows it is new where it was turned away, and else goes on counting from it."""
        if turned_away:
            self._note((request, said), now, 0)
        elif went_as != said:
            self._note((request, said), now, went_as + 1)

    def _note(self, request: Hashable, now: float, following: int) -> None:
        if len(self._notes) >= KEPT_MAX:
            self._notes = {one: kept for one, notes in self._notes.items() if (kept := _young(notes, now))}
        name = hash(request)  # it holds a secret
        if name in self._notes or len(self._notes) < KEPT_MAX:
            self._notes[name] = [*_young(self._notes.get(name, ()), now), (now, following)]


def _young(notes: Sequence[Note], now: float) -> list[Note]:
    return [note for note in notes if now - note[0] <= KEPT_SECONDS]
