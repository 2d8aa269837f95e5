"""Signals that ask to stop are noted when they come and raised where we pause: never in the midst of something.

An exception out of a handler would come between any two steps, also between `Popen.poll` taking its lock and the
`try` that gives it back; after that nobody could wait for the child any more.
"""

import contextlib
import signal
import time
from collections.abc import Iterator
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_noted: list[int] = []


class Interrupted(BaseException):
    """A signal asked to stop; not an Exception, so that nothing on the way takes it for a failure."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Within it, `pause` raises what was asked; a way out that does not pause cannot be disturbed."""

    def note(number: int, _: FrameType | None) -> None:
        _noted.append(number)

    before = {number: signal.signal(number, note) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _noted.clear()


def pause(seconds: float) -> None:
    """Sleep, in short turns: a signal is seen at the end.

    Raises:
        Interrupted: with the first signal that came.
    """
    time.sleep(seconds)
    if _noted:
        raise Interrupted(_noted[0])
