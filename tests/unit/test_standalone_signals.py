"""A signal that asks to stop: noted whenever it comes, raised only where nothing is half done."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from services.standalone.signals import Interrupted, interruptible, pause
from services.standalone.supervisor import Child, Supervisor

NAP_SECONDS = 0.01


class SignalledInside:
    """A lock that is held when the signal comes: between `acquire` and the `try` that gives it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.signals = [signal.SIGTERM]

    def acquire(self, blocking: bool = True) -> bool:
        taken = self._lock.acquire(blocking)
        if self.signals:
            os.kill(os.getpid(), self.signals.pop())
        return taken

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


@pytest.mark.timeout(60)
def test_a_child_that_is_being_asked_can_be_stopped_after_the_signal(tmp_path: Path) -> None:
    child = Child(
        "sleeper", [sys.executable, "-c", "import time; time.sleep(60)"], env={}, log=tmp_path / "log"
    )
    supervisor = Supervisor(lambda _: None)
    supervisor.start(child)
    pid = child.pid
    assert child._process is not None
    lock = child._process._waitpid_lock = SignalledInside()  # type: ignore[attr-defined]  # CPython's own
    began = time.monotonic()
    with pytest.raises(Interrupted) as interrupted, interruptible():
        supervisor.run_until(lambda: False, timeout=30)
    assert not lock.signals, "it was never asked, nothing is shown"
    assert interrupted.value.number == signal.SIGTERM
    supervisor.stop()
    assert time.monotonic() - began < 20, "it was waited for in vain and killed"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def stopped_by(*numbers: signal.Signals, on_the_way_out: list[str]) -> None:
    with interruptible():
        try:
            for number in numbers:
                os.kill(os.getpid(), number)
            pause(NAP_SECONDS)
        finally:
            os.kill(os.getpid(), signal.SIGHUP)
            on_the_way_out.append("whole")


def test_only_the_first_signal_counts_and_the_way_out_is_not_disturbed() -> None:
    before, out = signal.getsignal(signal.SIGTERM), list[str]()
    with pytest.raises(Interrupted) as interrupted:
        stopped_by(signal.SIGINT, signal.SIGTERM, on_the_way_out=out)
    assert (interrupted.value.number, out) == (signal.SIGINT, ["whole"])
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_was_asked_once_is_not_asked_of_the_next() -> None:
    with pytest.raises(Interrupted):
        stopped_by(signal.SIGTERM, on_the_way_out=[])
    with interruptible():
        pause(NAP_SECONDS)
    pause(NAP_SECONDS)


def test_a_report_that_fails_leaves_nothing_running(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    supervisor = Supervisor(lambda line: sys.exit(line))
    children = [Child(name, argv, env={}, log=tmp_path / name) for name in ("first", "second")]
    for child in children:
        supervisor.start(child)
    pids = [child.pid for child in children]
    with pytest.raises(SystemExit, match="stopping first"):
        supervisor.stop()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
