"""Company in busy moments: work whose cost is per round waits a little for more of its kind."""

import asyncio

_SAME_MOMENT_SECONDS = 0.0005


class Pace:
    """Lets through at once after a quiet moment, and together, at most once per `seconds`, in a busy one.

    Where many tasks come within the same moment, they go together.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._opened = float("-inf")

    async def turn(self) -> None:
        """Return when it is this one's turn: `seconds` later at most."""
        loop = asyncio.get_running_loop()
        passed = loop.time() - self._opened
        if _SAME_MOMENT_SECONDS <= passed < self._seconds:
            await asyncio.sleep(self._seconds - passed)
        if loop.time() - self._opened >= self._seconds:
            self._opened = loop.time()
