"""How far a played business is, in a file: a later run lives the same life again, silently, and goes on."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from events.codec import micros
from events.for_upstream import RequestEvent
from services.upstream.answers import Answers
from services.upstream.business import Business
from services.upstream.world import CLEAN, Trouble


class Journal(msgspec.Struct, kw_only=True):
    """Microseconds since 1970. `until`: everything that goes out until then is out. `rates`: visits a day from when."""

    seed: int
    business: str
    mode: str
    start: int
    until: int
    joining: int
    clean: bool
    rates: list[tuple[int, int]]

    def lived(self, requests: Iterable[RequestEvent] = ()) -> tuple[Business, Answers]:
        """The business as it was at `until`: lives again what has been played, without a word, and what it was asked."""
        (_, rate), *later = self.rates
        trouble = CLEAN if self.clean else Trouble()
        made = Business(self.seed, self.business, self.mode, self.start, rate, trouble, self.joining)
        for at, changed in later:
            made.quicken(at, changed)
        answers = Answers(made)
        for event in sorted(requests, key=lambda event: (event.time, event.id)):
            _silently(made, min(micros(event.time), self.until))
            answers.take(event)
        _silently(made, self.until)
        return made, answers


def _silently(business: Business, until: int) -> None:
    for _ in business.world.play(until):
        pass


def load(file: Path) -> Journal | None:
    """None where there is none yet."""
    return msgspec.json.decode(file.read_bytes(), type=Journal) if file.exists() else None


def save(file: Path, journal: Journal) -> None:
    """All or nothing."""
    fresh = file.with_name(f"{file.name}.new")
    fresh.write_bytes(msgspec.json.encode(journal))
    fresh.replace(file)
