"""What outlives the processes of a history, with those who start them, and the trouble that the plan has for them."""

import asyncio
import contextlib
import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextvars import Context
from typing import Any

from aiokafka.errors import KafkaError
from psycopg import OperationalError

from services.ledger.failures import OwnershipLost, TopicDiverged
from services.ledger.recovery.report import left_to_do
from services.projections.applying import CheckpointMoved
from tests.fakes.broker import OutOfRange, PublishFailed
from tests.fakes.gate import FREEZE, Killed, Phase
from tests.fakes.restoring import recover
from tests.fakes.simulation import sim_loop
from tests.fakes.store import MemoryDatabase, SessionLost
from tests.fakes.views import MemoryViews
from tests.fakes.world import WatchedKafka, World
from tests.proof.plan import OUTSIDE, Cell, Fault, Plan
from tests.proof.processes import SHARDS, Api, Projections, Worker

FROZEN_SECONDS = (0.05, 1.0, 6.0)
RESTART_SECONDS = 0.3
OPERATOR_SECONDS = 8.0
RECOVER_TIMES = 3
JUMPS_SECONDS = (-3_600.0, -2.0, -0.2, 0.2, 2.0, 3_600.0)
LATENCIES = (0.0003, 0.001, 0.003, 0.02)
SLOW_OFTEN = 0.01
SLOW_SECONDS = 0.4
ENDINGS = (Killed, asyncio.CancelledError, SessionLost, PublishFailed, OutOfRange, OwnershipLost, TopicDiverged,
           KafkaError, OperationalError, CheckpointMoved)  # fmt: skip
"""How a process may end without a defect of its own."""


class Topics(WatchedKafka):
    """Notes what is published before it is committed."""

    def append(self, shard: int, records: Sequence[tuple[bytes, bytes]]) -> int:
        town = self._world
        assert isinstance(town, Installation)
        stored = {row.value for row in town.database.events[shard]}
        if town.restored is None and any(value not in stored for _, value in records):
            town.broken.append("an event was published that is not committed")
        return super().append(shard, records)


class Installation(World):
    """One history's world."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(SHARDS)
        self.plan = plan
        self.kafka = Topics(self, SHARDS)
        self.views = MemoryViews(SHARDS)
        self.broken: list[str] = []
        self.happened: list[str] = []
        self.fired: set[Cell] = set()
        self.calm = False
        self.restored: dict[int, int] | None = None
        """By shard, how many events the restored store has of it; None: nothing was restored."""
        self.ahead: set[int] = set()
        """Shards of which the topic had more than the restored store."""
        self.workers: list[Worker] = []
        self.apis: list[Api] = []
        self.projections: list[Projections] = []
        self.fingerprint = hashlib.sha256()
        self._latency = random.Random(f"latency {plan.seed}")
        self._chance = random.Random(f"chance {plan.seed}")
        self._passes: Counter[tuple[str, str]] = Counter()
        self._planned: dict[tuple[str, str, int], list[Fault]] = defaultdict(list)
        for fault in plan.faults:
            self._planned[fault.cell.call, fault.cell.phase, fault.nth].append(fault)
        self._backup: MemoryDatabase | None = None
        self._alarm = asyncio.Event()
        self._keepers: list[asyncio.Task[None]] = []

    def token_bytes(self, count: int) -> bytes:
        return self._chance.randbytes(count)

    def attend(self, process: Any) -> None:
        """From now on the plan applies to this process."""
        process.gate.seconds = self._seconds
        process.gate.on_pass = lambda call, phase: self._passed(process, call, phase)

    def check(self, reply: Any) -> None:
        try:
            super().check(reply)
        except AssertionError as early:
            self.broken.append(f"a reply left before the commit: {early}")

    def routine_died(self, process: Any) -> None:
        if not process.gate.dead and not process.over.done():
            self.broken.append(f"{process.name}: a routine of the gateway died")

    # -- processes ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """All processes that the plan has, each with somebody who starts it again."""
        plan = self.plan
        self._keepers = [
            *(asyncio.create_task(self._keep_worker(number)) for number in range(plan.workers)),
            *(asyncio.create_task(self._keep(Api, self.apis, number)) for number in range(plan.apis)),
            *(
                asyncio.create_task(self._keep(Projections, self.projections, number))
                for number in range(plan.projections)
            ),
        ]

    @property
    def _processes(self) -> Sequence[Worker | Api | Projections]:
        return [*self.workers, *self.apis, *self.projections]

    async def stop(self) -> None:
        """No more restarts; everything dies."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for process in self._processes:
            process.kill()
        await asyncio.sleep(0)

    async def _keep_worker(self, number: int) -> None:
        name = f"worker-{number + 1}"
        while True:
            worker = Worker(self, name)
            self.workers = [*(one for one in self.workers if one.name != name), worker]
            await asyncio.wait({worker.task})
            while self._note_end(name, worker.task) and not worker.gate.dead:
                await asyncio.sleep(RESTART_SECONDS)
                worker.start()
                await asyncio.wait({worker.task})
            await asyncio.sleep(RESTART_SECONDS)

    async def _keep(self, kind: Any, group: list[Any], number: int) -> None:
        name = f"{kind.__name__.lower()}-{number + 1}"
        while True:
            process = kind(self, name)
            group[:] = [*(one for one in group if one.name != name), process]
            await asyncio.wait({process.over})
            self._note_end(name, process.over)
            process.kill()
            await asyncio.sleep(RESTART_SECONDS)

    def _note_end(self, name: str, task: "asyncio.Future[None]") -> bool:
        """Whether it failed; what must not happen to a process is noted."""
        error = None if task.cancelled() else task.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if error is not None and not isinstance(error, ENDINGS):
            self.broken.append(f"{name} died of {type(error).__name__}: {error}")
        return task.cancelled() or error is not None

    def note_lost_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A task that nobody waits for failed."""
        error = context.get("exception")
        if not isinstance(error, ENDINGS):
            self.broken.append(f"nobody noticed {type(error).__name__}: {error or context['message']}")

    # -- trouble -----------------------------------------------------------------------------------------------

    def _seconds(self) -> float:
        draw = self._latency
        return SLOW_SECONDS if draw.random() < SLOW_OFTEN and not self.calm else draw.choice(LATENCIES)

    def _passed(self, process: Any, call: str, phase: Phase) -> str | None:
        place = (call, phase)
        self._passes[place] += 1
        self.fingerprint.update(f"{sim_loop().time():.6f} {process.name} {call} {phase}\n".encode())
        if self.calm or (*place, self._passes[place]) not in self._planned:
            return None
        faults = self._planned[*place, self._passes[place]]
        for fault in sorted(faults, key=lambda fault: fault.cell.fault not in OUTSIDE):
            self.happened.append(f"{sim_loop().time():7.3f} s  {process.name}: {fault.cell}")
            self.fired.add(fault.cell)
            trouble = self._make(fault.cell.fault, process, call)
        return trouble

    def _make(self, fault: str, process: Any, call: str) -> str | None:
        if fault in OUTSIDE:
            getattr(self, "_" + fault.replace(" ", "_"))(process)
            if process.gate.dead:
                raise Killed
            return None
        if fault == "crash":
            process.kill()
            raise Killed
        if fault == "freeze":
            self._freeze(process)
            return FREEZE
        if fault in ("connection lost", "lock lost"):
            self.database.end(process.store)
            if fault == "connection lost":
                raise SessionLost(call)
            return None
        if fault == "fail" and isinstance(process, Worker):
            raise PublishFailed(call)
        return fault

    def _freeze(self, process: Any) -> None:
        loop = sim_loop()
        loop.freeze(process)
        loop.call_later(self._chance.choice(FROZEN_SECONDS), loop.thaw, process, context=Context())

    def _sessions_ended(self, _: Any) -> None:
        self.database.end_all()

    def _worker_stopped(self, process: Worker) -> None:
        process.worker.stop()

    def _clock_jumps(self, process: Worker) -> None:
        process.clock.ahead_seconds += self._chance.choice(JUMPS_SECONDS)

    def _commands_truncated(self, _: Any) -> None:
        """Retention took what nobody had read yet, too."""
        for shard in range(self.shards):
            self.kafka.truncate_commands(shard, self._chance.randint(0, len(self.kafka.commands[shard])))

    def _delivered_again(self, _: Any) -> None:
        """A producer that knows nothing of idempotence sends all that it ever sent."""
        for shard in range(self.shards):
            for value in list(self.kafka.commands[shard]):
                self.kafka.send(shard, value)

    def _power_lost(self, _: Any) -> None:
        """Everything dies at once, and Kafka had not flushed the last records; PostgreSQL had."""
        self.rereading = True
        for process in self._processes:
            process.kill()
        self.kafka.restart()
        for shard in range(self.shards):
            for log in (self.kafka.events[shard], self.kafka.commands[shard]):
                del log[max(0, len(log) - self._chance.randint(0, 3)) :]
            self.kafka.begins[shard] = min(self.kafka.begins[shard], len(self.kafka.commands[shard]))

    def back_up(self) -> None:
        """Taken once, early; only a plan with a restore needs it."""
        if any(fault.cell.fault == "restored" for fault in self.plan.faults):
            self._backup = self.database.backup()

    def _restored(self, _: Any) -> None:
        """The store comes back from its backup. Meanwhile nothing is under way any more."""
        if self._backup is None:
            return
        backup, self._backup = self._backup, None
        self.rereading = True
        killed: list[Worker | Api] = [*self.workers, *self.apis]
        for process in killed:
            process.kill()
        self.kafka.restart()
        self.database.restore(backup)
        self.restored = {shard: len(backup.events[shard]) for shard in range(self.shards)}
        self._alarm.set()
        self.ahead = {shard for shard, kept in self.restored.items() if len(self.topic(shard)) > kept}

    async def operate(self) -> None:
        """Somebody sees the alarm after a while and runs `wallet-ledger recover`.

        Until then nobody may have touched a shard whose topic had more than the store.
        """
        await self._alarm.wait()
        await asyncio.sleep(OPERATOR_SECONDS)
        assert self.restored is not None
        for shard, kept in self.restored.items():
            if shard in self.ahead and len(self.database.events[shard]) != kept:
                self.broken.append(
                    f"shard {shard} went on although the topic had more than the restored store"
                )
        for _ in range(RECOVER_TIMES):
            with contextlib.suppress(OwnershipLost):  # "somebody took a shard meanwhile: run again"
                report = await recover(self)
                if left_to_do(report):
                    self.broken.append(f"recover: {report}")
                return
        self.broken.append("recover never came to an end")
