"""The clock of the played business: what is to happen, in its order, and how its news travels. Pure; one seed, one life.

What happens depends on the seed and on what is asked of the business, never on how news travels: the same life can be
told cleanly, or late, twice and out of order.
"""

import heapq
from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import NamedTuple

import msgspec

from events.codec import timestamp
from events.commands import AnyAsk
from events.ids import derived
from services.upstream.books import Books
from services.upstream.things import Data, Thing
from services.upstream.trade import HOUR

UNKNOWN = ("loyalty.points_awarded", "payment.authorised", "tax_form.collected")

Action = Callable[[], None]
Planned = tuple[int, int, Action]
"""When, in which order of what is at once, and what."""


class Trouble(NamedTuple):
    """Of a thousand pieces of news: so many come twice, so many late by up to `late_max`, so many are of no known type."""

    twice: int = 100
    late: int = 100
    unknown: int = 10
    late_max: int = HOUR


CLEAN = Trouble(0, 0, 0, 0)


class Delivery(NamedTuple):
    """News as it goes out at `at`: a webhook's body."""

    at: int
    kind: str
    name: str
    told: int
    value: bytes


class Asked(NamedTuple):
    """What the shop of the business asks of the wallet ledger itself."""

    at: int
    customer_id: str
    key: str
    ask: AnyAsk


Letter = Delivery | Asked


class World:
    """Time stands still unless `play` moves it."""

    def __init__(self, seed: int, business: str, mode: str, start: int, trouble: Trouble = CLEAN) -> None:
        self.seed = seed
        self.business = business
        self.now = start
        self.books = Books()
        self._mode = mode
        self._trouble = trouble
        self._post = self.chance("post")
        self._queue: list[Planned] = []
        self._mail: list[Planned] = []
        self._planned = 0
        self._out: list[Letter] = []
        self._encode = msgspec.json.Encoder().encode

    def chance(self, name: str) -> Random:
        """Of its own for each thing: what is asked from outside changes nothing else."""
        return Random(f"{self.seed} {name}")  # noqa: S311 - played, and the same at every run

    def named(self, prefix: str, name: str) -> str:
        """The same in each business that lives this life."""
        return derived(prefix, f"{self.seed} {name}")

    def later(self, wait: int, action: Action) -> None:
        """In so many microseconds."""
        self._plan(self._queue, wait, action)

    def play(self, until: int) -> Iterator[Letter]:
        """All that goes out until then, in order."""
        while (queue := min(self._queue, self._mail, key=_first)) and queue[0][0] <= until:
            yield from self._next(queue)
        self.now = max(self.now, until)

    def drain(self) -> Iterator[Letter]:
        """What is on its way. Nothing else happens: afterwards everything is told, and life is over."""
        while self._mail:
            yield from self._next(self._mail)

    def _plan(self, queue: list[Planned], wait: int, action: Action) -> None:
        heapq.heappush(queue, (self.now + wait, self._planned, action))
        self._planned += 1

    def _next(self, queue: list[Planned]) -> list[Letter]:
        self.now, _, action = heapq.heappop(queue)
        action()
        out, self._out = self._out, []
        return out

    def tell(self, kind: str, thing: Thing) -> None:
        """Sooner or later, once or twice; what is delivered is the thing as it is then."""
        self.books.write_down(thing)
        deliver = partial(self._deliver, kind, self.now, thing.name, thing)
        self._send(deliver, thing.buyer.customer_id, thing.held_until)

    def tell_of(self, kind: str, name: str, data: Data) -> None:
        """News of something that is no object with a life."""
        self._send(partial(self._write, kind, self.now, name, data), data.get("customer_id"))

    def ask(self, customer_id: str, name: str, ask: AnyAsk) -> None:
        """Of the ledger; some of it twice, with the same key."""
        asked = Asked(self.now, customer_id, f"shop-{self.seed}/{name}", ask)
        self._out.append(asked)
        if self._happens(self._trouble.twice):
            self._out.append(asked)

    def _send(self, deliver: Action, customer_id: str | None, held_until: int = 0) -> None:
        trouble = self._trouble
        wait = self._post.randrange(trouble.late_max) if self._happens(trouble.late) else 0
        if trouble.late_max:
            wait = max(wait, held_until - self.now)
        if wait:
            self._plan(self._mail, wait, deliver)
        else:
            deliver()
        if self._happens(trouble.twice):
            self._plan(self._mail, self._post.randrange(trouble.late_max), deliver)
        if self._happens(trouble.unknown):
            kind = self._post.choice(UNKNOWN)
            self._write(kind, self.now, kind, {"customer_id": customer_id, "of_tomorrow": [1.5, None]})

    def _happens(self, permille: int) -> bool:
        return permille > 0 and self._post.randrange(1000) < permille

    def _deliver(self, kind: str, told: int, name: str, thing: Thing) -> None:
        self._write(kind, told, name, {**thing.data, "payload_type": thing.payload_type})

    def _write(self, kind: str, told: int, name: str, data: Data) -> None:
        envelope = {
            "business_id": self.business,
            "mode": self._mode,
            "type": kind,
            "timestamp": timestamp(told),
            "data": data,
        }
        self._out.append(Delivery(self.now, kind, name, told, self._encode(envelope)))


def _first(queue: list[Planned]) -> tuple[bool, tuple[int, int]]:
    return (not queue, queue[0][:2] if queue else (0, 0))
