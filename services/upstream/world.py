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
from events.commands import CustomerAsk
from events.ids import derived
from services.upstream.books import Books
from services.upstream.things import Data, Thing
from services.upstream.trade import HOUR

UNKNOWN = ("loyalty.points_awarded", "payment.authorised", "tax_form.collected")

Action = Callable[[], None]


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
    ask: CustomerAsk


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
        self._queue: list[tuple[int, int, Action]] = []
        self._planned = 0
        self._out: list[Letter] = []
        self._encode = msgspec.json.Encoder().encode

    def chance(self, name: str) -> Random:
        """Of its own for each thing: what is asked from outside changes nothing else."""
        return Random(f"{self.seed} {name}")  # noqa: S311 - played, and the same at every run

    def named(self, prefix: str, name: str) -> str:
        return derived(prefix, f"{self.business} {self.seed} {name}")

    def later(self, wait: int, action: Action) -> None:
        """In so many microseconds."""
        heapq.heappush(self._queue, (self.now + wait, self._planned, action))
        self._planned += 1

    def play(self, until: int) -> Iterator[Letter]:
        """All that goes out until then, in order."""
        while self._queue and self._queue[0][0] <= until:
            self.now, _, action = heapq.heappop(self._queue)
            action()
            yield from self._out
            self._out.clear()
        self.now = max(self.now, until)

    def tell(self, kind: str, thing: Thing) -> None:
        """Sooner or later, once or twice; what is delivered is the thing as it is then."""
        self.books.write_down(kind, thing)
        deliver = partial(self._deliver, kind, self.now, thing.name, thing)
        self._send(deliver, thing.held_until)

    def tell_of(self, kind: str, name: str, data: Data) -> None:
        """News of something that is no object with a life."""
        self._send(partial(self._write, kind, self.now, name, data), 0)

    def ask(self, customer_id: str, name: str, ask: CustomerAsk) -> None:
        """Of the ledger; some of it twice, with the same key."""
        asked = Asked(self.now, customer_id, f"shop-{self.seed}/{name}", ask)
        self._out.append(asked)
        if self._happens(self._trouble.twice):
            self._out.append(asked)

    def _send(self, deliver: Action, held_until: int) -> None:
        trouble = self._trouble
        wait = self._post.randrange(trouble.late_max) if self._happens(trouble.late) else 0
        if trouble.late_max:
            wait = max(wait, held_until - self.now)
        if wait:
            self.later(wait, deliver)
        else:
            deliver()
        if self._happens(trouble.twice):
            self.later(self._post.randrange(trouble.late_max), deliver)
        if self._happens(trouble.unknown):
            self._unknown()

    def _unknown(self) -> None:
        kind = self._post.choice(UNKNOWN)
        buyer = next(iter(self.books.things.values())).buyer if self.books.things else None
        data: Data = {"customer_id": buyer.customer_id if buyer else None, "of_tomorrow": [1.5, None]}
        self._write(kind, self.now, kind, data)

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
