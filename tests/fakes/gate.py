"""Where a fake's calls pass: each takes time, and may be made to fail, to wait, or to be its process's last."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Literal

Phase = Literal["before", "during", "after"]
Place = tuple[str, Phase]

CALL_SECONDS = 0.001
FREEZE = "freeze"
"""A trouble that every call knows: the process stands still here, until it is thawed."""


class Killed(BaseException):
    """The process is dead: no `except Exception` of it runs on, and nothing it does has an effect."""


class Hold:
    """Calls that wait at one place: `reached` when the first is there, all go on once `released` is set."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.released = asyncio.Event()


class Gate:
    """One process's way to one server. `after` faults come when the effect is there and the answer is lost."""

    def __init__(self) -> None:
        self.dead = False
        self.on_pass: Callable[[str, Phase], str | None] | None = None
        """Told of every call: may raise, or name a trouble that the fake knows how to make."""
        self.seconds: Callable[[], float] = lambda: CALL_SECONDS
        self._faults: defaultdict[Place, deque[BaseException]] = defaultdict(deque)
        self._holds: dict[Place, Hold] = {}

    def fail(self, call: str, phase: Phase, *errors: BaseException) -> None:
        """The next calls raise these, one each."""
        self._faults[call, phase].extend(errors)

    def hold(self, call: str, phase: Phase = "before") -> Hold:
        """Calls wait at this place until the hold is released."""
        return self._holds.setdefault((call, phase), Hold())

    async def before(self, call: str) -> str | None:
        """The request is not yet there."""
        await asyncio.sleep(self.seconds())
        return await self._pass(call, "before")

    async def during(self, call: str) -> str | None:
        """The server works on it, whatever becomes of us."""
        return await self._pass(call, "during")

    async def after(self, call: str) -> str | None:
        """The effect is there, the answer under way."""
        return await self._pass(call, "after")

    def check(self) -> None:
        """For calls that cannot wait."""
        if self.dead:
            raise Killed

    def now(self, call: str, phase: Phase = "before") -> str | None:
        """The same, with whatever trouble there is."""
        self.check()
        return None if self.on_pass is None else self.on_pass(call, phase)

    async def _pass(self, call: str, phase: Phase) -> str | None:
        if (trouble := self.now(call, phase)) == FREEZE:
            await asyncio.sleep(0)
            self.check()
        if (hold := self._holds.get((call, phase))) is not None:
            hold.reached.set()
            await hold.released.wait()
            self.check()
        if faults := self._faults[call, phase]:
            raise faults.popleft()
        return trouble
