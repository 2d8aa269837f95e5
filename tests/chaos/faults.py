"""Which process is hurt, when and how: a plan from a seed, and a supervisor that starts the dead again."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from services.standalone.process import Server
from tests.running import Process, System

KILLS = {
    ("ledger", "kill"): 5,
    ("ledger", "freeze"): 4,
    ("projections", "kill"): 3,
    ("projections", "freeze"): 2,
    ("api", "kill"): 3,
    ("api", "freeze"): 1,
    ("kafka", "kill"): 3,
    ("kafka", "freeze"): 2,
    ("postgres", "kill"): 2,
}
PAUSE_SECONDS = (2.5, 4.0)
FROZEN_SECONDS = (1.0, 6.0)
BACK_OFF_SECONDS = 0.5


class Fault(NamedTuple):
    """One line of the plan."""

    target: str
    how: str
    pause: float
    frozen: float


class Hurt(NamedTuple):
    """What was done, and with how many requests in flight."""

    at: float
    target: str
    how: str
    in_flight: int


def plan(seed: int) -> list[Fault]:
    """The same for the same seed."""
    draw = random.Random(seed)
    kinds = [kind for kind, times in KILLS.items() for _ in range(times)]
    draw.shuffle(kinds)
    return [Fault(*kind, draw.uniform(*PAUSE_SECONDS), draw.uniform(*FROZEN_SECONDS)) for kind in kinds]


class Faults:
    """Hurts the processes of a system and starts the dead again, as the supervisor of a machine would."""

    def __init__(
        self, system: System, processes: dict[str, list[Process]], in_flight: Callable[[], int]
    ) -> None:
        self._processes = processes
        self._servers: dict[str, Server] = {"kafka": system.kafka, "postgres": system.postgres}
        self._in_flight = in_flight
        self._began = time.monotonic()
        self._frozen: set[asyncio.Task[None]] = set()
        self.hurts: list[Hurt] = []
        self.restarts: Counter[str] = Counter()

    async def supervise(self) -> None:
        """Until cancelled."""
        while True:
            services = [one for group in self._processes.values() for one in group]
            for server in (*self._servers.values(), *services):
                if server.returncode() is not None:
                    self.restarts[server.name] += 1
                    await asyncio.sleep(BACK_OFF_SECONDS)
                    server.start()
            await asyncio.sleep(0.1)

    async def carry_out(self, faults: list[Fault]) -> None:
        """One after the other; a frozen process thaws while the next ones are hurt."""
        for fault in faults:
            await asyncio.sleep(fault.pause)
            server = self._chosen(fault.target)
            if server.returncode() is not None:
                await asyncio.sleep(2 * BACK_OFF_SECONDS)
            self.hurts.append(
                Hurt(time.monotonic() - self._began, fault.target, fault.how, self._in_flight())
            )
            if fault.how == "kill":
                server.kill()
            else:
                server.freeze()
                self._frozen.add(asyncio.create_task(self._thaw(server, fault.frozen)))
        await asyncio.gather(*self._frozen)

    def _chosen(self, target: str) -> Server:
        """Of two ledger workers the one that owns more."""
        if target in self._servers:
            return self._servers[target]
        return max(self._processes[target], key=lambda one: one.metric("wallet_ledger_shards_owned"))

    async def _thaw(self, server: Server, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if server.returncode() is None:
            server.thaw()
