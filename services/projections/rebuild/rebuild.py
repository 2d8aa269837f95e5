"""Make the read models again from `ledger.events`, beside the living ones, and put them in their place.

Each step can be repeated: after kill -9 the next run finds what was done in the database and goes on from there.
"""

import asyncio
import os
import time
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

import psycopg
from psycopg.errors import LockNotAvailable

from services.projections.rebuild import load as rebuild_load
from services.projections.rebuild import tables as rebuild_tables
from services.projections.rebuild.catalogue import Session
from services.projections.rebuild.load import LoadFailed
from services.sessions import KEEPALIVES
from services.settings import Settings

LOCK = 0x72656275696C64  # "rebuild"
SMALL_EVENTS = 2_000
"""As much may be missing when the living tables are held: their projector waits for so long."""
SMALL_LOAD_EVENTS = 20_000
"""Processes of their own would take longer to start than so many events to apply."""
ROUNDS_MAX = 100
SWAP_SECONDS_MAX = 600.0
SWAP_RETRY_SECONDS = 0.5
HELD_SECONDS_MAX = 5.0


class Step(StrEnum):
    """In this order."""

    LOAD = "events"
    INDEX = "indexes"
    CATCH_UP = "catching up"
    SWAP = "swap"


class Rebuilt(NamedTuple):
    """What a run did; `resumed` counts events that an earlier run had left."""

    events: int
    resumed: int
    load_seconds: float
    seconds: float
    swap_seconds: float


class Busy(Exception):
    """Another rebuild runs, or the living tables are never free."""


Report = Callable[[Step, int, int], None]
"""Step, how much of it is done, and how much there is."""


class Rebuild:
    """One run. `report` is called often; `processes` 0: one per core, or none beside this one for a small ledger."""

    def __init__(self, settings: Settings, report: Report, processes: int = 0) -> None:
        self._settings = settings
        self._report = report
        self._processes = processes

    def run(self, afresh: bool = False) -> Rebuilt:
        """
        Raises:
            Busy, LoadFailed
            rebuild_tables.Unfit: the live tables have something that shadow tables cannot have.
        """
        began = time.monotonic()
        with self._session() as session:
            if session.execute("SELECT pg_try_advisory_lock(%s)", [LOCK]).fetchone() == (False,):
                raise Busy("another rebuild runs on these read models")
            resumed = self._prepare(session, afresh)
            loading = time.monotonic()
            self._load(session)
            loaded = time.monotonic() - loading
            self._report(Step.INDEX, 0, 1)
            rebuild_tables.index(session)
            rebuild_load.forget(self._settings)
            rebuild_tables.sample(session)
            self._report(Step.INDEX, 1, 1)
            total, held = self._swap_in(session)
        return Rebuilt(total - resumed, resumed, loaded, time.monotonic() - began, held)

    def _session(self) -> Session:
        return psycopg.connect(
            self._settings.views_dsn.get_secret_value(),
            autocommit=True,
            application_name="wallet-ledger rebuild",
            **KEEPALIVES,
        )

    def _prepare(self, session: Session, afresh: bool) -> int:
        """Shadow tables, new or those of an unfinished run; how many events they hold."""
        if rebuild_tables.exists(session) and (afresh or not rebuild_tables.fits(session)):
            rebuild_tables.drop(session)
        if not rebuild_tables.exists(session):
            rebuild_tables.create(session)
        return rebuild_tables.applied(session)

    def _load(self, session: Session) -> None:
        until = asyncio.run(rebuild_load.ends(self._settings))
        total = sum(until.values())

        def look() -> None:
            self._report(Step.LOAD, rebuild_tables.applied(session), total)

        look()
        if not self._processes and total - rebuild_tables.applied(session) <= SMALL_LOAD_EVENTS:
            asyncio.run(rebuild_load.load(self._settings, until, forgets=False))
        else:
            processes = self._processes or os.cpu_count() or 1
            rebuild_load.load_by_processes(self._settings, until, processes, look)
        look()

    def _swap_in(self, session: Session) -> tuple[int, float]:
        """Catch up until little is missing, hold the living tables, take the rest, swap; again while others read."""
        give_up = time.monotonic() + SWAP_SECONDS_MAX
        while True:
            self._catch_up(session)
            self._report(Step.SWAP, 0, 1)
            held = time.monotonic()
            try:
                with session.transaction():
                    rebuild_tables.hold_live(session)
                    if sum(rebuild_tables.behind(session).values()) > SMALL_EVENTS:
                        continue  # ends the transaction: the projector was faster
                    if rebuild_tables.behind(session):
                        self._take_rest(HELD_SECONDS_MAX)
                    total = rebuild_tables.applied(session)
                    rebuild_tables.swap(session)
            except (LockNotAvailable, TimeoutError) as error:
                if time.monotonic() > give_up:
                    why = f"for {SWAP_SECONDS_MAX:.0f} s others used the tables, or the last events came too slowly"
                    raise Busy(
                        f"no moment for the swap: {why}; run it again: it goes on from here"
                    ) from error
                time.sleep(SWAP_RETRY_SECONDS)
                continue
            self._report(Step.SWAP, 1, 1)
            return total, time.monotonic() - held

    def _catch_up(self, session: Session) -> None:
        """Rounds, each to where the log then ends, until a round was short."""
        for _ in range(ROUNDS_MAX):
            before = rebuild_tables.applied(session)
            self._take_rest()
            after = rebuild_tables.applied(session)
            self._report(Step.CATCH_UP, after, after)
            if after - before <= SMALL_EVENTS:
                return
        raise LoadFailed(f"events come faster than they are applied: {ROUNDS_MAX} rounds did not catch up")

    def _take_rest(self, seconds: float | None = None) -> None:
        settings = self._settings

        async def take() -> None:
            async with asyncio.timeout(seconds):
                await rebuild_load.load(settings, await rebuild_load.ends(settings), forgets=True)

        asyncio.run(take())
