"""Where a fake's calls pass: each takes time, and may be made to fail, to wait, or to be its process's last."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Literal

Phase = Literal["before", "after"]
Place = tuple[str, Phase]

CALL_SECONDS = 0.001


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
        self.on_pass: Callable[[str, Phase], None] | None = None
        self._faults: defaultdict[Place, deque[BaseException]] = defaultdict(deque)
        self._holds: dict[Place, Hold] = {}

    def fail(self, call: str, phase: Phase, *errors: BaseException) -> None:
        """The next calls raise these, one each."""
        self._faults[call, phase].extend(errors)

    def hold(self, call: str, phase: Phase = "before") -> Hold:
        """Calls wait at this place until the hold is released."""
        return self._holds.setdefault((call, phase), Hold())

    async def before(self, call: str) -> None:
        await asyncio.sleep(CALL_SECONDS)
        await self._pass(call, "before")

    async def after(self, call: str) -> None:
        await self._pass(call, "after")

    def check(self) -> None:
        """For calls that cannot wait."""
        if self.dead:
            raise Killed

    async def _pass(self, call: str, phase: Phase) -> None:
        self.check()
        if self.on_pass is not None:
            self.on_pass(call, phase)
        if (hold := self._holds.get((call, phase))) is not None:
            hold.reached.set()
            await hold.released.wait()
            self.check()
        if faults := self._faults[call, phase]:
            raise faults.popleft()
