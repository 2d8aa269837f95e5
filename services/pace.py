"""Company in busy moments: work whose cost is per round waits a little for more of its kind."""

import asyncio

_SAME_MOMENT_SECONDS = 0.0005
_HURRY_SECONDS = 0.1


class Pace:
    """Lets through at once after a quiet moment, and together, at most once per `seconds`, in a busy one.

    Where many tasks come within the same moment, they go together. `calm_seconds` is the tempo while nobody is known
    to wait for the work: see `hurry`.
    """

    def __init__(self, seconds: float, calm_seconds: float | None = None) -> None:
        self._seconds = seconds
        self._calm_seconds = seconds if calm_seconds is None else calm_seconds
        self._opened = float("-inf")
        self._hurried_until = float("-inf")

    def hurry(self) -> None:
        """Somebody waits: keep the quicker tempo for a while."""
        self._hurried_until = asyncio.get_running_loop().time() + _HURRY_SECONDS

    async def turn(self) -> None:
        """Return when it is this one's turn."""
        loop = asyncio.get_running_loop()
        opened, now = self._opened, loop.time()
        if now - opened < _SAME_MOMENT_SECONDS:
            return
        while self._opened == opened:  # else somebody opened meanwhile: together
            left = opened + (self._seconds if now < self._hurried_until else self._calm_seconds) - now
            if left <= _SAME_MOMENT_SECONDS:
                self._opened = now
                return
            await asyncio.sleep(min(self._seconds, left))
            now = loop.time()
