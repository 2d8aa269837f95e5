"""Processes that are ours: they die with us, log to a file, and are stopped by their number only."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from services.mistakes import ExitCode, Mistake
from services.standalone.ports import free_port
from services.standalone.signals import pause

PR_SET_PDEATHSIG = 1
LISTEN_SECONDS = 0.1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class StandaloneError(Mistake):
    """No setting puts it right: what we started failed."""

    exit_code = ExitCode.DEFECT


def _dying_with_us(death_signal: int = signal.SIGKILL) -> Callable[[], None]:
    """For a child, before it becomes another program: the kernel signals it when the thread that starts it ends (Linux)."""
    parent = os.getpid()

    def before_exec() -> None:  # after setuid, which would clear the request
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return before_exec


def _started(
    argv: Sequence[str | Path], death_signal: int, uid: int | None, **how: Any
) -> "subprocess.Popen[Any]":
    """In a session of its own: Ctrl-C is for us alone."""
    return subprocess.Popen(  # noqa: S603 - argv is built by this package
        [os.fspath(word) for word in argv],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_dying_with_us(death_signal),
        user=uid,
        group=uid,
        extra_groups=[] if uid is not None else None,
        **how,
    )


def spawn(
    argv: Sequence[str | Path],
    *,
    log: Path | None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    uid: int | None = None,
    death_signal: int = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start a child. Without a log it writes where we do."""
    errors = subprocess.STDOUT if log else None
    with log.open("ab") if log else contextlib.nullcontext() as output:
        return _started(argv, death_signal, uid, stdout=output, stderr=errors, env=env, cwd=cwd)


def run(argv: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str], uid: int | None = None) -> None:
    """Run a program to its end; its error output becomes the message when it fails. Raises Interrupted, and kills it."""
    pipe = subprocess.PIPE
    with _started(argv, signal.SIGKILL, uid, cwd=cwd, env=env, stdout=pipe, stderr=pipe, text=True) as child:
        try:
            output, errors = _heard(child)
        finally:
            child.kill()  # harmless where it has ended
    if child.returncode != 0:
        raise StandaloneError(f"{Path(argv[0]).name} failed in {cwd}: {errors.strip() or output.strip()}")


def _heard(child: "subprocess.Popen[str]") -> tuple[str, str]:
    """All that it says until it ends."""
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.communicate(timeout=LISTEN_SECONDS)
        pause(0)


def last_lines(log: Path, count: int = 15, start: int = 0) -> str:
    """The end of a log, nothing before `start`, for a person who must find out why a child died."""
    try:
        with log.open("rb") as file:
            file.seek(max(start, log.stat().st_size - 16_384))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])
    except FileNotFoundError:
        return ""


class Server(ABC):
    """A child that is one server: start, wait, stop; and for tests kill, freeze, thaw."""

    name = "server"
    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path, port: int, log: Path | None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.log = log or folder / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self._problem = ""
        """Why it did not answer when it was asked last, where that is known."""

    @abstractmethod
    def start(self) -> None:
        """Start the process; it may take a while until it answers."""

    def is_ready(self) -> bool:
        """Whether it answers; of one that serves nothing, whether it runs."""
        return self.returncode() is None

    def last_said(self, count: int = 15) -> str:
        """The last lines in its log since it was started last: what earlier ones said is no reason for its end."""
        return last_lines(self.log, count, self._log_start)

    @property
    def pid(self) -> int:
        """Of the running child."""
        return self._running().pid

    def returncode(self) -> int | None:
        """None while the child runs."""
        return self._running().poll()

    def stop(self, timeout: float = 30) -> None:
        """Ask the server to finish in order; kill it if it takes too long. Harmless when it does not run."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """kill -9, and wait until every process of the server is gone."""
        family = self._family()
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._running().wait()
        psutil.wait_procs(family, timeout=10)

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers. Returns when every process has stopped."""
        psutil.Process(self.pid).suspend()  # first, so that it starts no further process
        family = self._family()
        for process in family[1:]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        deadline = time.monotonic() + 10
        while any(_runs(process) for process in family):
            if time.monotonic() > deadline:
                raise StandaloneError(f"{self.name} did not stop at SIGSTOP")
            time.sleep(0.005)

    def thaw(self) -> None:
        """SIGCONT, for what `freeze` stopped."""
        for process in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):  # those that go on may end others
                process.resume()

    def _begin(self, argv: Sequence[str | Path], **how: Any) -> None:
        """For `start`."""
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self._process = spawn(argv, log=self.log, **how)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise StandaloneError(f"{self.name} has not been started")
        return self._process

    def _family(self) -> list[psutil.Process]:
        try:
            parent = psutil.Process(self._running().pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _await(self, ready: Callable[[], bool], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not ready():
            if self.returncode() is not None:
                raise StandaloneError(
                    f"{self.name} ended with code {self.returncode()}; {self.log} ends with:\n"
                    f"{self.last_said()}"
                )
            if time.monotonic() > deadline:
                why = f": {self._problem}" if self._problem else ""
                raise StandaloneError(f"{self.name} is not ready after {timeout:g} s{why}; see {self.log}")
            pause(0.02)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
