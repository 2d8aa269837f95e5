"""The sweep: faults from a seed on a real installation under load, and then every answer must be true."""

import asyncio
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar

import aiohttp

from services.api.keys import create_key
from tests.chaos.faults import Fault
from tests.chaos.hurting import Faults, Hurt, NeverWell
from tests.chaos.installation import BUSINESS, MODE, SHARDS, Installation, installed
from tests.chaos.load import ATTEMPT_SECONDS_MAX, Load
from tests.chaos.payments import Payments
from tests.chaos.pulse import Pulse
from tests.chaos.verdict import Verdict, judge, statuses

CUSTOMERS = 60
STORM_PER_SECOND = 330
CONNECTIONS_MAX = 500
DRAIN_SECONDS = 60.0
TOP_UPS_PER_SECOND = 15
Tell = Callable[[Hurt], None]
T = TypeVar("T")


@dataclass
class Swept:
    """What was done, and what came of it."""

    seed: int
    rate: int
    raged: list[Hurt] = field(default_factory=list)
    hurts: list[Hurt] = field(default_factory=list)
    attempts: int = 0
    seconds: float = 0.0
    raged_rate: float = 0.0
    """Attempts per second in the storm."""
    last_words: dict[int, int] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    verdict: Verdict = field(default_factory=Verdict)
    silence: float = 0.0
    """Shorter ones are not seen."""
    disks: tuple[str, ...] = ()
    logs: str = ""
    """Where they are, if something is wrong."""

    @property
    def broken(self) -> list[str]:
        """Promises, in words."""
        return [*self.verdict.broken, *self.late]

    @property
    def late(self) -> list[str]:
        """Times that are longer than promised, in words."""
        return [
            f"{hurt.fault.kind.name}: well again after {hurt.answers:.1f} s, {hurt.fault.kind.limit:.0f} s are promised"
            for hurt in self.hurts
            if hurt.late
        ]

    @property
    def done(self) -> int:
        """Faults that were possible here."""
        return sum(not hurt.note for hurt in self.hurts)


def sweep(
    seed: int,
    rate: int,
    faults: Sequence[Fault],
    storm: Sequence[Fault] = (),
    tell: Tell = lambda hurt: None,
    minutes: float = math.inf,
) -> Swept:
    """First the storm, then one fault after the other, as many as there is time for."""
    with installed() as installation:
        installation.start()
        swept = asyncio.run(_swept(installation, Swept(seed, rate), _in_time(faults, minutes), storm, tell))
        if swept.broken:
            swept.logs = tempfile.mkdtemp(prefix="wallet-ledger-sweep-")
            for log in installation.system.folder.glob("*.log"):
                shutil.copy(log, swept.logs)
        return swept


async def _swept(
    here: Installation, swept: Swept, faults: Iterable[Fault], storm: Sequence[Fault], tell: Tell
) -> Swept:
    dsn = here.system.settings.views_dsn.get_secret_value()
    _, api_key = create_key(dsn, BUSINESS, MODE, "chaos")
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=ATTEMPT_SECONDS_MAX, sock_read=ATTEMPT_SECONDS_MAX
    )
    connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
    pulse = Pulse(SHARDS, swept.rate)
    swept.silence = pulse.silence_seconds
    swept.disks = tuple(here.disks)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector, trust_env=False) as session:
        customers = await registered(session, here.url, api_key, swept.seed)
        load = Load(here.url, api_key, customers, swept.seed, swept.rate, pulse.heard)
        told = Payments(here.system.kafka.bootstrap, BUSINESS, customers, swept.seed, TOP_UPS_PER_SECOND)
        hurting = Faults(here, pulse, lambda: load.in_flight)
        work = [load.run(session), told.run(), hurting.supervise()]
        background = [asyncio.create_task(one) for one in work]
        try:
            await _storm(swept, load, hurting, storm)
            await _faults(swept, hurting, faults, tell)
            told.stop()
            await load.stop(DRAIN_SECONDS)
            await background[1]
            for task in background:
                assert not task.done() or task.exception() is None
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
    swept.attempts, swept.seconds = load.attempts, load.seconds
    swept.last_words = dict(statuses(load.requests))
    swept.restarts = dict(hurting.restarts)
    never = swept.verdict.broken
    swept.verdict = await judge(here.system, load.requests, told.told)
    swept.verdict.broken[:0] = never
    return swept


async def _storm(swept: Swept, load: Load, hurting: Faults, storm: Sequence[Fault]) -> None:
    await asyncio.sleep(2)
    if not storm:
        return
    load.per_second, before = STORM_PER_SECOND, (load.attempts, load.seconds)
    await hurting.rage(storm)
    swept.raged = list(hurting.hurts)
    swept.raged_rate = (load.attempts - before[0]) / (load.seconds - before[1])
    load.per_second = swept.rate
    await _or_say(swept, hurting.calm())


async def _faults(swept: Swept, hurting: Faults, faults: Iterable[Fault], tell: Tell) -> None:
    for fault in faults:
        if swept.verdict.broken:
            return
        hurt = await _or_say(swept, hurting.one(fault))
        if hurt is not None:
            swept.hurts.append(hurt)
            tell(hurt)


def _in_time(faults: Sequence[Fault], minutes: float) -> Iterator[Fault]:
    ending = time.monotonic() + minutes * 60
    for fault in faults:
        if time.monotonic() > ending:
            return
        yield fault


async def _or_say(swept: Swept, work: Coroutine[Any, Any, T]) -> T | None:
    try:
        return await work
    except NeverWell as never:
        swept.verdict.say(str(never))
        return None


async def registered(session: aiohttp.ClientSession, base_url: str, api_key: str, seed: int) -> list[str]:
    """Customers without money yet."""
    found = []
    for number in range(CUSTOMERS):
        headers = {"authorization": f"Bearer {api_key}", "idempotency-key": f"{seed}-customer-{number}"}
        body = {"name": f"Nguyễn {number}", "email": f"n{number}@example.com"}
        async with session.post(f"{base_url}/customers", json=body, headers=headers) as answer:
            assert answer.status == HTTPStatus.OK, await answer.text()
            found.append((await answer.json())["customer_id"])
    return found
