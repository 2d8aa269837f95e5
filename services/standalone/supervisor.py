"""Starts children in order, starts a dead one again with back-off, stops all in the reverse order."""

import signal
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from services.mistakes import ExitCode, Mistake
from services.standalone.process import Server, StandaloneError
from services.standalone.signals import pause

DEATHS_MAX = 5
WINDOW_SECONDS = 60.0
BACK_OFF_SECONDS = 0.5  # then twice as long with each death in the window
POLL_SECONDS = 0.05
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback: never through a proxy

Report = Callable[[str], None]


class Child(Server):
    """One of our own processes."""

    def __init__(
        self, name: str, argv: Sequence[str | Path], *, env: Mapping[str, str], log: Path, port: int = 0
    ) -> None:
        self.name = name
        super().__init__(log.parent, port, log)
        self._argv = argv
        self._env = env

    def start(self) -> None:
        """Readiness is asked for apart."""
        self._begin(self._argv, env=self._env)


class Service(Child):
    """One that serves; ready when its `/readyz` says so."""

    def __init__(
        self, name: str, argv: Sequence[str | Path], *, env: Mapping[str, str], url: str, log: Path
    ) -> None:
        super().__init__(name, argv, env=env, log=log, port=urlsplit(url).port or 80)
        self._readiness = f"{url}/readyz"
        self._was_ready = False

    def is_ready(self) -> bool:
        """One question, no waiting."""
        try:
            with direct.open(self._readiness, timeout=2) as answer:
                ready = bool(answer.status == 200)
        except (OSError, HTTPException):
            return False
        self._was_ready |= ready
        return ready

    def cannot_become(self, code: int) -> Mistake | None:
        """What it says of itself, where it ended with this code and would again: settings stay as they are. Other codes may
        pass (projections end with 5 until they have tried a broken place three times), and so may all of one that was
        ready once."""
        if self._was_ready or code != ExitCode.SETTINGS:
            return None
        said = self.last_said(1).removeprefix("wallet-ledger: ")
        return Mistake(f"{self.name} failed: {said}")


@dataclass
class _Watched:
    server: Server
    vital: bool
    deaths: deque[float] = field(default_factory=deque)
    restart_at: float | None = None
    returning: bool = False


class Supervisor:
    """Runs in one thread: children die with the thread that starts them."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._watched: list[_Watched] = []

    def start(self, server: Server, vital: bool = True) -> None:
        """Start it and look after it from now on. One that is not vital may be given up."""
        self._watched.append(_Watched(server, vital))
        server.start()

    def run_until(self, done: Callable[[], bool], timeout: float | None = None) -> bool:
        """Look after the children until `done`; False if that took longer than `timeout`.

        Raises:
            StandaloneError: a child died too often.
            Mistake: a service refuses its settings.
            Interrupted: a signal asked to stop.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not done():
            now = time.monotonic()
            if deadline is not None and now > deadline:
                return False
            for child in list(self._watched):
                self._look_after(child, now)
            pause(POLL_SECONDS)
        return True

    def stop(self) -> None:
        """In the reverse order of starting; what does not want to is killed. Whatever one raises, all are stopped."""
        with ExitStack() as last_first:
            while self._watched:
                server = self._watched.pop(0).server
                last_first.callback(server.stop)
                last_first.callback(self._report, f"stopping {server.name}")

    def _look_after(self, child: _Watched, now: float) -> None:
        server = child.server
        if child.restart_at is not None:
            if now >= child.restart_at:
                child.restart_at, child.returning = None, True
                server.start()
            return
        code = server.returncode()
        if code is None:
            if child.returning and server.is_ready():
                child.returning = False
                self._report(f"{server.name} is back")
            return
        if isinstance(server, Service) and (mistake := server.cannot_become(code)):
            raise mistake
        child.deaths.append(now)
        while child.deaths[0] < now - WINDOW_SECONDS:
            child.deaths.popleft()
        if len(child.deaths) >= DEATHS_MAX and not child.vital:
            self._watched.remove(child)
            self._report(
                f"{server.name} died {DEATHS_MAX} times in a minute and is given up; see {server.log}"
            )
            return
        if len(child.deaths) >= DEATHS_MAX:
            raise StandaloneError(
                f"{server.name} died {DEATHS_MAX} times in a minute; {server.log} ends with:\n"
                f"{server.last_said()}"
            )
        wait = BACK_OFF_SECONDS * 2 ** (len(child.deaths) - 1)
        child.restart_at = now + wait
        self._report(f"{server.name} died ({_cause(code)}): starting it again in {wait:g} s")


def _cause(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
