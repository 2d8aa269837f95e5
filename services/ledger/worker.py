"""The ledger worker: take shards over, decide what arrives for them, commit, answer, publish.

Its loop is also its heartbeat: a frozen worker stops beating and loses its session, and with it its shards.
"""

import asyncio
from collections.abc import Collection, Coroutine, Sequence
from typing import Any, TypeVar

import structlog

from services.ledger import metrics
from services.ledger.batches import settling
from services.ledger.batches.answers import Answers
from services.ledger.batches.batch import Configured
from services.ledger.batches.decisions import ATTEMPT_MICROS, Decisions
from services.ledger.batches.settling import Settling
from services.ledger.beating import HEARTBEAT_SECONDS, beating
from services.ledger.ownership import Ownership
from services.ledger.ports import Broker, Clock, CommandRecord, Store
from services.ledger.relay.relay import Relay
from services.ledger.world import Coffin, Keys, World
from services.pace import Pace

log = structlog.get_logger()
T = TypeVar("T")

PACE_SECONDS = 0.003
"""A batch costs about the same for one command as for ten."""
FLUSH_SECONDS = 5.0
SURPLUS_SECONDS = 1.0  # so long a hand-over may keep the other shards waiting


class Worker:
    """One process; `run` returns after `stop`, and raises when it must be started anew, like a stranger."""

    def __init__(
        self,
        store: Store,
        broker: Broker,
        clock: Clock,
        keys: Keys,
        coffin: Coffin,
        configured: Configured,
        shards: int,
        acknowledge_topic: bool = False,
    ) -> None:
        self._store = store
        self._broker = broker
        self._clock = clock
        self._keys = keys
        self._coffin = coffin
        self._configured = configured
        self._shards = shards
        self._acknowledge_topic = acknowledge_topic
        self._stopping = False
        self.connected = False
        self.worked = False
        self._reset()

    def _reset(self) -> None:
        """A new life: nothing of an earlier one is believed."""
        self._relay = Relay(self._broker, self._store, self._clock)
        self._ownership = Ownership(self._store, self._broker, self._relay, self._shards, self._beating)
        self._decisions = Decisions(self._store, self._keys, self._configured)
        self._answers = Answers(self._broker, self._relay, self._acknowledge_topic)
        self._inbox: Sequence[CommandRecord] = []
        self._beaten = float("-inf")
        self._pace = Pace(PACE_SECONDS)
        world = World(
            self._store,
            self._broker,
            self._clock,
            self._keys,
            self._coffin,
            self._relay,
            self._ownership,
            self._answers,
        )
        self._settling = Settling(world, self._decisions, self._shards, self._acknowledge_topic)
        self.skew_seconds = 0.0

    @property
    def owned(self) -> set[int]:
        """The shards this worker holds."""
        return set(self._ownership.owned)

    @property
    def refused(self) -> set[int]:
        """Free shards that it does not take: topic and store differ."""
        return set(self._ownership.refused)

    @property
    def held(self) -> set[int]:
        """Shards that wait before a record that could not be put aside."""
        return set(self._ownership.held)

    @property
    def silent_seconds(self) -> float:
        """Since the database answered last: a broken wire may end no connection for long."""
        return asyncio.get_running_loop().time() - self._ownership.heard

    def stop(self) -> None:
        """Finish the batch at hand, publish, hand the shards back."""
        self._stopping = True

    async def run(self) -> None:
        """Own shards and work. Whatever goes wrong: drop state, heads and connections, and raise."""
        self._reset()
        try:
            await self._store.open()
            await self._broker.open()
            self.connected = self.worked = True
            while not self._stopping:
                await self._beat()
                await self._step()
            await self._settling.settled()
            await self._store.leave()
            await self._hand_back(sorted(self.owned), FLUSH_SECONDS)
        finally:
            await self._drop()

    async def _step(self) -> None:
        if self._relay.diverged is not None:
            raise self._relay.diverged
        if not self._inbox:
            await self._pace.turn()
            patience = self._ownership.patience(asyncio.get_running_loop().time())
            seconds = min(patience, HEARTBEAT_SECONDS / 2)
            self._inbox = await self._broker.fetch(seconds, settling.BATCH_COMMANDS_MAX)
        if self._inbox:
            self._inbox = await self._settling.take(self._inbox)

    async def _beat(self) -> None:
        """Once a second: keep the session, compare clocks. Then, and in between where it is due: share with others."""
        now = asyncio.get_running_loop().time()
        beat = now - self._beaten >= HEARTBEAT_SECONDS
        if not beat and self._ownership.patience(now) > 0:
            return
        await self._settling.settled()
        if beat:
            self._beaten = now
            before = self._clock.micros()
            server = await self._ownership.heartbeat(before - ATTEMPT_MICROS)
            self.skew_seconds = ((before + self._clock.micros()) / 2 - server) / 1e6
            metrics.CLOCK_SKEW_SECONDS.set(self.skew_seconds)
            self._relay.observe()
            await self._decisions.keep_snapshots()
            if self._ownership.listen(now):
                self._inbox = []
        if surplus := await self._ownership.look(now):
            await self._hand_back(surplus, SURPLUS_SECONDS)
        elif await self._ownership.take_free(now):
            self._inbox = []  # everything is read on from where the shard rows say
            self._settling.careful()  # who waited for the owner before asks again

    async def _beating(self, work: Coroutine[Any, Any, T]) -> T:
        """Await something long without losing the session."""
        return await beating(lambda: self._ownership.heartbeat(self._clock.micros() - ATTEMPT_MICROS), work)

    async def _hand_back(self, shards: Collection[int], flush_seconds: float) -> None:
        """Between two batches. The next owner starts where we stopped: published, noted, unlocked.

        What cannot be published stays, unless this worker leaves: then it is the next owner's.
        """
        published = await self._beating(self._relay.flush(shards, flush_seconds))
        given = shards if self._stopping else published
        self._ownership.keep(set(shards) - set(given), asyncio.get_running_loop().time())
        if not given:
            return
        await self._answers.settle()
        await self._ownership.give_back(given)
        self._inbox = []  # the others are read on from where their rows say
        self._relay.forget(published)
        self._decisions.forget()

    async def _drop(self) -> None:
        await self._settling.drop()
        self._answers.drop()
        await self._relay.stop()
        await self._store.close()
        await self._broker.close()
        self._decisions.forget()
        self._ownership.owned.clear()
        self.connected = False
        metrics.SHARDS_OWNED.set(0)
