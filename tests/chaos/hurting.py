"""Hurts an installation, starts the dead again, and takes the time until all is well."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil
import psycopg

from services.standalone.kafka import Kafka
from services.standalone.postgres import Postgres
from services.standalone.process import Server, StandaloneError
from tests.chaos.faults import Fault, Kind
from tests.chaos.installation import Installation
from tests.chaos.pulse import Pulse

BACK_OFF_SECONDS = 0.5
POLL_SECONDS = 0.1
CALM_IN_FLIGHT_MAX = 150
PATIENCE_SECONDS = 180.0
NOT_POSSIBLE = "not possible here"
STORM = Fault(Kind("everything", "storm", 1), 0.0, 0.0, False, 0.0)


class NeverWell(AssertionError):
    """It does not come to rest: nothing after it would mean anything."""


@dataclass
class Hurt:
    """What was done, and what became of it: seconds until answers and until reads were as before."""

    at: float
    fault: Fault
    in_flight: int
    note: str = ""
    lasted: float = 0.0
    answers: float | None = None
    reads: float | None = None

    @property
    def late(self) -> bool:
        return self.answers is not None and self.answers > self.fault.kind.limit


class Faults:
    """One after the other, or one upon the other."""

    def __init__(self, installation: Installation, pulse: Pulse, in_flight: Callable[[], int]) -> None:
        self._here = installation
        self._pulse = pulse
        self._in_flight = in_flight
        self._began = time.monotonic()
        self._lasting: set[asyncio.Task[Hurt]] = set()
        self.hurts: list[Hurt] = []
        self.restarts: Counter[str] = Counter()

    async def supervise(self) -> None:
        """As the supervisor of a machine would; until cancelled."""
        while True:
            for server in (*self._here.servers, *self._here.services):
                if server.returncode() is not None:
                    self.restarts[server.name] += 1
                    await asyncio.sleep(BACK_OFF_SECONDS)
                    with suppress(OSError):  # its disk is full: next time
                        server.start()
            await asyncio.sleep(POLL_SECONDS)

    async def rage(self, faults: Sequence[Fault]) -> None:
        """Nobody waits until all is well; a frozen process thaws while the next ones are hurt."""
        for fault in faults:
            await asyncio.sleep(fault.pause)
            self._lasting.add(asyncio.create_task(self._hurt(fault)))
            await asyncio.sleep(0)
        await asyncio.gather(*self._lasting)

    def _server(self, fault: Fault) -> Server | None:
        """The one that has to come back first."""
        name = fault.kind.target.removeprefix("disk of ")
        return next((one for one in self._here.servers if one.name == name), None)

    async def _back(self, server: Server) -> None:
        began = time.monotonic()
        while not await asyncio.to_thread(_is_ready, server):
            if time.monotonic() - began > PATIENCE_SECONDS:
                raise NeverWell(f"{server.name} does not come back")
            await asyncio.sleep(POLL_SECONDS)

    async def calm(self) -> None:
        """All is well, and those who waited have been served.

        Raises:
            NeverWell: not in time.
        """
        await self._all_well(time.monotonic(), Hurt(0.0, STORM, 0))

    async def one(self, fault: Fault) -> Hurt:
        """Returns when all is well again.

        Raises:
            NeverWell: not in time.
        """
        await asyncio.sleep(fault.pause)
        before = time.monotonic()
        hurt = await self._hurt(fault)
        if hurt.note:
            return hurt
        if (server := self._server(fault)) is not None:
            await self._back(server)
        ended = time.monotonic()
        hurt.lasted = ended - before
        await self._all_well(ended, hurt)
        counted = ended if fault.kind.lasting else before
        hurt.answers = max(0.0, self._pulse.well_again(before) - counted)
        assert hurt.reads is not None, "else it is not well"
        hurt.reads += ended - counted
        return hurt

    async def _all_well(self, since: float, hurt: Hurt) -> None:
        """All processes ready, no shard silent, read models up to date."""
        target: int | None = None
        while hurt.reads is None or not await self._well(since):
            if time.monotonic() - since > PATIENCE_SECONDS:
                found = (
                    f"silent {self._pulse.silent()}, not ready {await self._problems()}, reads {hurt.reads}"
                )
                raise NeverWell(f"after {hurt.fault.kind.name}: {found}")
            target = await asyncio.to_thread(self._noted, since, hurt, target)
            await asyncio.sleep(POLL_SECONDS)
        while self._in_flight() > CALM_IN_FLIGHT_MAX:
            if time.monotonic() - since > PATIENCE_SECONDS:
                raise NeverWell(f"{self._in_flight()} requests still wait for an answer")
            await asyncio.sleep(POLL_SECONDS)

    async def _well(self, since: float) -> bool:
        if time.monotonic() - since < self._pulse.silence_seconds or self._pulse.silent():
            return False
        return self._pulse.answered_since(since) and not await self._problems()

    async def _problems(self) -> list[str]:
        if dead := [one.name for one in self._here.services if one.returncode() is not None]:
            return dead
        ready = await asyncio.gather(*(asyncio.to_thread(one.is_ready) for one in self._here.services))
        return [one.name for one, well in zip(self._here.services, ready, strict=True) if not well]

    def _noted(self, since: float, hurt: Hurt, target: int | None) -> int | None:
        """When the read models have what the store had once it answered again."""
        if hurt.reads is not None:
            return target
        with suppress(psycopg.Error):
            if target is None:
                with self._here.system.store() as store:
                    return total(store, "shards")
            with self._here.system.views() as views:
                if total(views, "checkpoints") >= target:
                    hurt.reads = time.monotonic() - since
        return target

    async def _hurt(self, fault: Fault) -> Hurt:
        hurt = Hurt(time.monotonic() - self._began, fault, self._in_flight())
        self.hurts.append(hurt)
        target, how = fault.kind.target, fault.kind.how
        if target.startswith("disk of "):
            await self._full(hurt, target.removeprefix("disk of "))
        elif " to " in target:
            process, _, server = target.partition(" to ")
            await self._linked(f"{self._chosen(process, fault).name} to {server}", fault)
        else:
            both = target == "ledgers"
            for one in self._here.ledgers if both else [self._chosen(target, fault)]:
                await self._process(one, how, fault.seconds)
        return hurt

    async def _process(self, server: Server, how: str, seconds: float) -> None:
        await self._alive(server)
        if how == "kill":
            server.kill()
        elif how == "end":
            psutil.Process(server.pid).send_signal(server.stop_signal)
            await self._gone(server)
        else:
            server.freeze()
            await asyncio.sleep(seconds)
            if server.returncode() is None:
                server.thaw()

    async def _gone(self, server: Server) -> None:
        """It may take its time; the supervisor may have started the next one already."""
        number, deadline = server.pid, time.monotonic() + PATIENCE_SECONDS
        while server.pid == number and server.returncode() is None:
            if time.monotonic() > deadline:
                raise NeverWell(f"{server.name} does not end")
            await asyncio.sleep(POLL_SECONDS)

    async def _alive(self, server: Server) -> None:
        """Another fault may have ended it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while server.returncode() is not None:
            if time.monotonic() > deadline:
                raise NeverWell(f"{server.name} is not started again")
            await asyncio.sleep(POLL_SECONDS)

    async def _linked(self, name: str, fault: Fault) -> None:
        self._here.network.hurt(name, fault.kind.how, fault.delay)
        if fault.kind.how != "cut":
            await asyncio.sleep(fault.seconds)
            self._here.network.hurt(name, "mend", 0.0)

    async def _full(self, hurt: Hurt, name: str) -> None:
        disk = self._here.disks.get(name)
        if disk is None:
            hurt.note = NOT_POSSIBLE
            return
        disk.fill()
        await asyncio.sleep(hurt.fault.seconds)
        disk.free()

    def _chosen(self, target: str, fault: Fault) -> Server:
        if target != "ledger":
            named = {one.name: one for one in (*self._here.servers, *self._here.services)}
            return named[target]
        first, second = sorted(
            self._here.ledgers, key=lambda one: one.metric("wallet_ledger_shards_owned"), reverse=True
        )
        return second if fault.other else first


def _is_ready(server: Server) -> bool:
    """One question."""
    assert isinstance(server, Kafka | Postgres)
    try:
        server.wait_ready(0.0)
    except StandaloneError:
        return False
    return True


def total(connection: psycopg.Connection[Any], table: str) -> int:
    """Events of all shards, as this table has them."""
    row = connection.execute(f"SELECT coalesce(sum(sequence), 0) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])
