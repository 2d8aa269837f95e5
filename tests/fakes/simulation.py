"""Time that costs nothing: an event loop whose clock jumps to the next timer, and the clock that reads it."""

import asyncio
import functools
import heapq
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

START_MICROS = 1_790_000_000_000_000
STUCK_SECONDS_MAX = 3_600.0
TASKS_KEPT = 200

PROCESS: ContextVar[object] = ContextVar("PROCESS", default=None)
"""The simulated process that a task belongs to: tasks it makes inherit it."""


class Stuck(AssertionError):
    """Nothing can happen any more, or nothing has come to an end within an hour of simulated time."""


class SimLoop(asyncio.SelectorEventLoop):
    """No threads and no sockets: only timers and callbacks, in one thread, always in the same order.

    Processes can be frozen: what is theirs waits, whatever it is, until they are thawed.
    """

    _ready: deque[asyncio.Handle]
    _scheduled: list[Any]

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._frozen: dict[object, list[asyncio.Handle]] = {}
        self._tasks: dict[object, list[asyncio.Task[Any]]] = defaultdict(list)
        self.set_task_factory(self._new_task)

    def time(self) -> float:
        return self._now

    def freeze(self, process: object) -> None:
        """SIGSTOP."""
        self._frozen.setdefault(process, [])

    def thaw(self, process: object) -> None:
        """SIGCONT."""
        self._ready.extend(self._frozen.pop(process, ()))

    def thaw_all(self) -> None:
        for process in list(self._frozen):
            self.thaw(process)

    def tasks_of(self, process: object) -> list[asyncio.Task[Any]]:
        """Unfinished ones, oldest first."""
        return [task for task in self._tasks[process] if not task.done()]

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> "asyncio.Future[T]":  # type: ignore[override]
        """A thread's work, in our one thread: at once, but not now."""

        async def work() -> T:
            await asyncio.sleep(0)
            return func(*args)

        return self.create_task(work())

    def _run_once(self) -> None:
        """Instead of sleeping until the next timer, moves the clock there."""
        timers = self._scheduled
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        if not self._ready and not self._stopping:  # type: ignore[attr-defined]
            if not timers:
                raise Stuck("every task waits for something that no timer will bring")
            self._now = max(self._now, timers[0]._when)
            if self._now > STUCK_SECONDS_MAX:
                raise Stuck("an hour has passed")
        while timers and timers[0]._when <= self._now:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            self._ready.append(timer)
        for _ in range(len(self._ready)):
            self._run(self._ready.popleft())

    def _run(self, handle: Any) -> None:
        if handle._cancelled:
            return
        if self._frozen:
            process = handle._context.get(PROCESS)
            if process in self._frozen:
                self._frozen[process].append(handle)
                return
        handle._run()

    def _new_task(
        self, loop: asyncio.AbstractEventLoop, coro: Any, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, context=context)
        mine = self._tasks[PROCESS.get() if context is None else context.get(PROCESS)]
        mine.append(task)
        if len(mine) > TASKS_KEPT:
            mine[:] = [task for task in mine if not task.done()]
        return task


def sim_loop() -> SimLoop:
    """The running one."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimLoop)
    return loop


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
        try:
            return runner.run(scenario)
        finally:
            loop = runner.get_loop()
            assert isinstance(loop, SimLoop)
            loop.thaw_all()


def simulated(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """An async test as a plain one, in simulated time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return simulate(test(*args, **kwargs))

    return run
