"""Filling the shadow tables: several processes, each with shards of its own, by the code that also works live."""

import asyncio
import gc
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import ClassVar

import uvloop

from services.children import begin, failure_of
from services.keyring import KeyRing, key_ring
from services.projections.applying import SESSION, TRANSACTION_TIMEOUT_SINCE, Applier
from services.projections.read_models import erasures
from services.projections.rebuild.catalogue import LIVE, SHADOW
from services.reading import BulkReader
from services.settings import Settings

LOOK_SECONDS = 0.25

Progress = Callable[[], None]


class LoadFailed(Exception):
    """A shard cannot be read to its end; what came before is kept."""


class Shadow(Applier):
    """Applies to the shadow tables: the same statements, under another search path."""

    options: ClassVar[str] = f"{SESSION} -c search_path={SHADOW},{LIVE}"

    def __init__(self, dsn: str, keys: KeyRing, *, forgets: bool = True) -> None:
        super().__init__(dsn, keys)
        self.forgets = forgets


def shadow(settings: Settings, *, forgets: bool) -> Shadow:
    ring = key_ring(settings)
    ring.check()
    return Shadow(settings.views_dsn.get_secret_value(), ring, forgets=forgets)


def forget(settings: Settings) -> None:
    """What erased customers lose, once for all that was loaded, over the indexes."""
    applier = shadow(settings, forgets=True)
    try:
        session = applier.connection()
        session.execute("SET statement_timeout = 0")
        if session.info.server_version >= TRANSACTION_TIMEOUT_SINCE:
            session.execute("SET transaction_timeout = 0")
        erasures.forget_all(session)
    finally:
        applier.reset()


async def ends(settings: Settings) -> dict[int, int]:
    """Where the log of each shard ends now."""
    async with BulkReader(settings) as reader:
        return await reader.ends(range(settings.shards))


async def load(settings: Settings, until: Mapping[int, int], *, forgets: bool) -> None:
    """Apply what the shadow lacks of these shards, in this process; reading and writing take turns.

    `forgets` false: there may be no indexes yet, over which an erasure finds its rows; `forget` follows.

    Raises:
        ChainBroken, Incomplete, psycopg.Error, KafkaError
    """
    applier = shadow(settings, forgets=forgets)
    try:
        seen = applier.load()
        starts = {shard: seen[shard].next_offset for shard in until}
        async with BulkReader(settings) as reader:
            async for records in reader.read(starts, until):
                await asyncio.to_thread(applier.apply, records)
    finally:
        applier.reset()


def load_by_processes(
    settings: Settings, until: Mapping[int, int], processes: int, progress: Progress
) -> None:
    """The same by several processes; `progress` is called now and then.

    Raises:
        LoadFailed: one of them was killed.
        ChainBroken, Incomplete, psycopg.Error, KafkaError: as one of them met it.
    """
    shares = [dict(list(until.items())[n::processes]) for n in range(min(processes, len(until)))]
    started: list[tuple[BaseProcess, Connection]] = []
    try:
        started.extend(begin("load", _child, settings, share) for share in shares)
        while any(process.is_alive() for process, _ in started):
            progress()
            time.sleep(LOOK_SECONDS)
            _check(started)
        _check(started)
    finally:
        for process, _ in started:
            process.kill()
            process.join()


def _check(started: Sequence[tuple[BaseProcess, Connection]]) -> None:
    for process, pipe in started:
        failed = failure_of(pipe)  # before its end: it may have more to say than the pipe holds
        if failed is not None or process.exitcode:
            raise failed or LoadFailed(f"a loading process ended with {process.exitcode}")


def _child(settings: Settings, share: dict[int, int]) -> int:
    gc.disable()  # events make no cycles, and looking for some took a third of the time
    uvloop.run(load(settings, share, forgets=False))
    return 0
