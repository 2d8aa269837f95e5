"""Whether this process can do its work, and if not, because of whom."""

import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from services.api.ports import ViewsUnavailable

PROJECTOR_SILENCE_SECONDS_MAX = 5.0
LAG_SECONDS_MAX = 5.0
CLOCK_SKEW_SECONDS_MAX = 1.0


class Readiness(Protocol):
    """What `/readyz` asks."""

    async def problems(self) -> dict[str, str]:
        """By component, for people; empty: ready."""
        ...


class Checks:
    """Implements `Readiness` over the running parts."""

    def __init__(
        self,
        gateway_problems: Callable[[], dict[str, str]],
        freshness: Callable[[], Awaitable[tuple[float, float | None]]],
        lag_seconds: Callable[[], float],
    ) -> None:
        self._gateway_problems = gateway_problems
        self._freshness = freshness
        self._lag_seconds = lag_seconds

    async def problems(self) -> dict[str, str]:
        found = dict(self._gateway_problems())
        before = time.time()
        try:
            server_time, silence = await self._freshness()
        except ViewsUnavailable as error:
            return {**found, "views": f"the read models' database does not answer ({error})"}
        if silence is None or silence > PROJECTOR_SILENCE_SECONDS_MAX:
            found["projections"] = "no projector is running: reads stay as they are"
        elif (lag := self._lag_seconds()) > LAG_SECONDS_MAX:
            found["projections"] = f"{lag:.0f} s behind: reads are old"
        if not before - CLOCK_SKEW_SECONDS_MAX < server_time < time.time() + CLOCK_SKEW_SECONDS_MAX:
            found["clock"] = "this machine's clock and the database's differ by more than a second"
        return found
