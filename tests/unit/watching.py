"""A watch over a process that Faust receives for, as tests drive it: soon over."""

import asyncio

import pytest

from services import faust_process
from services.faust_process import FaustWatch


class WatchStage:
    """Whoever inherits it plays what is around the watch."""

    watch: FaustWatch

    async def run(self, seconds: float) -> None:
        """Raises what the watch raises; returns if it does not within that time."""
        try:
            async with asyncio.timeout(seconds):
                await self.watch.watch_forever()
        except TimeoutError:
            return


def hasten(monkeypatch: pytest.MonkeyPatch, watch: type[FaustWatch]) -> None:
    """It looks often, and has little patience."""
    monkeypatch.setattr(faust_process, "WATCH_SECONDS", 0.005)
    monkeypatch.setattr(faust_process, "STARTING_SECONDS", 0.005)
    monkeypatch.setattr(watch, "no_progress_seconds_max", 0.3)
