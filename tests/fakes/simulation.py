"""Time that costs nothing: an event loop whose clock jumps to the next timer, and the clock that reads it."""

import asyncio
import functools
import selectors
from collections import defaultdict
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, ParamSpec, TypeVar
from weakref import WeakSet

P = ParamSpec("P")
T = TypeVar("T")

START_MICROS = 1_790_000_000_000_000
STUCK_SECONDS_MAX = 3_600.0

PROCESS: ContextVar[object] = ContextVar("PROCESS", default=None)
"""The simulated process that a task belongs to: tasks it makes inherit it."""


class Stuck(AssertionError):
    """Nothing can happen any more, or nothing has come to an end within an hour of simulated time."""


class _Jumping(selectors.SelectSelector):
    """Instead of sleeping until the next timer, moves the clock there."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck("every task waits for something that no timer will bring")
        self.now += max(0.0, timeout)
        if self.now > STUCK_SECONDS_MAX:
            raise Stuck("an hour has passed")
        return super().select(0)


class SimLoop(asyncio.SelectorEventLoop):
    """No threads and no sockets: only timers and callbacks, in one thread, always in the same order."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)
        self._tasks: dict[object, WeakSet[asyncio.Task[Any]]] = defaultdict(WeakSet)
        self.set_task_factory(self._new_task)

    def time(self) -> float:
        return self._jumping.now

    def tasks_of(self, process: object) -> set[asyncio.Task[Any]]:
        return {task for task in self._tasks[process] if not task.done()}

    def _new_task(
        self, loop: asyncio.AbstractEventLoop, coro: Any, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, context=context)
        self._tasks[(context or copy_context()).get(PROCESS)].add(task)
        return task


def tasks_of(process: object) -> set[asyncio.Task[Any]]:
    """Unfinished tasks of one simulated process."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimLoop)
    return loop.tasks_of(process)


class SimClock:
    """Implements `ports.Clock` by the loop's own time; `ahead` is by how much this machine's clock is wrong."""

    def __init__(self, ahead_seconds: float = 0.0) -> None:
        self.ahead_seconds = ahead_seconds

    def micros(self) -> int:
        return START_MICROS + round((asyncio.get_running_loop().time() + self.ahead_seconds) * 1e6)


async def until(condition: Callable[[], bool], seconds_max: float = 30.0) -> None:
    """Returns in the step in which the condition holds, to 5 ms of simulated time. Raises TimeoutError."""
    async with asyncio.timeout(seconds_max):
        while not condition():  # noqa: ASYNC110 - a condition on state that knows nothing of waiters
            await asyncio.sleep(0.005)


def simulate(scenario: Coroutine[Any, Any, T]) -> T:
    """Run it on a loop of its own; left-over tasks are cancelled."""
    with asyncio.Runner(loop_factory=SimLoop) as runner:
        return runner.run(scenario)


def simulated(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """An async test as a plain one, in simulated time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return simulate(test(*args, **kwargs))

    return run
