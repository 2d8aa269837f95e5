"""Plays a business against a ledger: the past as fast as it goes or at any speed, the present as it passes."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from msgspec import UNSET

from events.commands import RegisterCustomer
from events.for_upstream import RequestEvent
from events.ids import Tenant
from events.replies import Reply
from events.requests import SettleInvoice
from services.settings import Settings
from services.upstream import journal
from services.upstream.journal import Journal
from services.upstream.post import Post
from services.upstream.report import Report
from services.upstream.requests import Requests
from services.upstream.trade import DAY, HOUR, MINUTE
from services.upstream.world import Asked, Delivery

STEP_MAX = 7 * DAY
"""So much time goes out at once: what a shop asks waits until the payments before it are recorded."""
VISITS_MAX = 100_000
"""Then a new life begins, with the next seed: a life is held in memory."""
POLL_SECONDS = 0.5

Show = Callable[[int, int], None]
"""Hours that are played, of how many."""


class Score(NamedTuple):
    """What is to be played. `speed` 0: as fast as it goes. `follow`: then the present, with so many visits a day; 0: no."""

    seed: int
    business: str
    mode: str
    days: int
    rate: int
    speed: int
    follow: int
    clean: bool
    file: Path | None


class Player:
    """One run; `now` tells the time in microseconds."""

    def __init__(self, score: Score, now: Callable[[], int], show: Show) -> None:
        self._score = score
        self._now = now
        self._show = show
        self.report = Report(days=score.days)
        self._began = now()
        found = journal.load(score.file) if score.file else None
        self._retells = found is not None  # what an earlier run told and did not note makes no event again
        self._journal = found or self._new(score.seed, self._began - score.days * DAY)

    async def play(self, settings: Settings) -> Report:
        """To the end; where the present is followed there is none. Raises Mistake."""
        began = time.monotonic()
        tenant = Tenant(self._journal.business, self._journal.mode)
        self._post = Post(settings, tenant, self._heard)
        async with self._post, Requests(settings, tenant) as requests:
            self._live(await requests.known())
            self._keep()
            from_ = self._journal.until
            while (at := self._journal.until) < (until := self._until(from_)) or self._score.follow:
                for event in await requests.news():
                    self._answers.take(event)
                await self._step(min(until, at + STEP_MAX))
                self._show(*((moment - from_) // HOUR for moment in (self._journal.until, until)))
                if self._journal.until == until:
                    await asyncio.sleep(POLL_SECONDS)
            await self._post.deliver(self._drained(), watched=False)
            await self._post.answered()
        self.report.seconds = round(time.monotonic() - began)
        self.report.customers = len(self._business.buyers)
        return self.report

    def _until(self, from_: int) -> int:
        """How far the clock of the business is."""
        now = self._now() if self._score.follow else self._began
        if not self._score.speed:
            return now
        return min(now, from_ + (self._now() - self._began) * self._score.speed)

    async def _step(self, until: int) -> None:
        """All that goes out until then; where much does, in the order in which it makes sense at once."""
        fast = until - self._journal.until > MINUTE
        letters = list(self._business.world.play(until))
        deliveries = [one for one in letters if isinstance(one, Delivery)]
        asked = [one for one in letters if isinstance(one, Asked)]
        registered = [one for one in asked if isinstance(one.ask, RegisterCustomer)]
        await self._post.ask(registered)
        watched = fast and not self._retells and len(asked) > len(registered)
        await self._post.deliver(deliveries, watched)
        await self._post.recorded()
        await self._post.ask([one for one in asked if not isinstance(one.ask, RegisterCustomer)])
        for one in deliveries:
            self.report.delivered(one)
        self._journal.until = until
        self._retells = False
        if letters:
            self._keep()
        if self._business.visits > VISITS_MAX:
            self._journal = self._new(self._journal.seed + 1, until)
            self._live(())
            self._post.forget()
            self.report.forget()

    def _drained(self) -> Iterator[Delivery]:
        """What is late, so that in the end everything is told; a run that goes on later tells it again."""
        for one in self._business.world.drain():
            assert isinstance(one, Delivery), "only news is on its way"
            self.report.delivered(one)
            yield one

    def _new(self, seed: int, start: int) -> Journal:
        score = self._score
        return Journal(
            seed=seed,
            business=score.business,
            mode=score.mode,
            start=start,
            until=start,
            joining=min(10 * DAY, max(HOUR, (self._began - start) // 2)),
            clean=score.clean,
            rates=[(start, score.rate)],
        )

    def _heard(self, asked: Asked, reply: Reply) -> None:
        self.report.heard(reply)
        if isinstance(asked.ask, SettleInvoice) and reply.applied is not UNSET:
            self._business.settled(asked.ask, reply.applied)

    def _live(self, requests: Iterable[RequestEvent]) -> None:
        """As far as the journal says."""
        rates, follow = self._journal.rates, self._score.follow
        if follow and rates[-1][1] != follow:
            rates.append((max(self._journal.until, self._began), follow))
        self._business, self._answers = self._journal.lived(requests)

    def _keep(self) -> None:
        if self._score.file:
            journal.save(self._score.file, self._journal)
