"""What a stretch of time cost: processor per process and of the whole machine, commands per commit."""

import re
import time
from http.client import HTTPException
from types import TracebackType

import psutil

from benchmarks.stage import Stage
from services.standalone.supervisor import direct

QUIET_PERCENT_MAX = 20.0
"""Of all cores together: what our own processes need while nobody asks them for anything, and a little."""

_BATCH = re.compile(rb"^wallet_ledger_batch_commands_(sum|count) (\S+)$", re.MULTILINE)


class Meter:
    """A context manager around what is measured; read it afterwards."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.cpu_percent: dict[str, float] = {}
        self.machine_percent = 0.0
        self.commands_per_commit: float | None = None

    def __enter__(self) -> "Meter":
        self._began = time.monotonic()
        self._cpu = self._cpu_seconds()
        self._machine = _machine_seconds()
        self._batches = self._committed()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.monotonic() - self._began
        after = self._cpu_seconds()
        self.machine_percent = round((_machine_seconds() - self._machine) / seconds * 100, 1)
        self.cpu_percent = {
            name: round((used - self._cpu.get(name, 0.0)) / seconds * 100, 1) for name, used in after.items()
        }
        commands, commits = (
            now - before for now, before in zip(self._committed(), self._batches, strict=True)
        )
        self.commands_per_commit = round(commands / commits, 1) if commits > 0 else None

    def _cpu_seconds(self) -> dict[str, float]:
        """100 % is one core; a server's children count as the server."""
        return {name: _family_seconds(server.pid) for name, server in self._stage.running.items()}

    def _committed(self) -> tuple[float, float]:
        """Commands and commits of the ledger since it started; nothing while it does not run."""
        if "ledger" not in self._stage.running:
            return 0.0, 0.0
        url = f"http://127.0.0.1:{self._stage.settings.ledger_metrics_port}/metrics"
        try:
            with direct.open(url, timeout=5) as answer:
                found = dict(_BATCH.findall(answer.read()))
        except (OSError, HTTPException):
            return 0.0, 0.0
        return float(found.get(b"sum", 0)), float(found.get(b"count", 0))


def wait_for_quiet(seconds: float) -> None:
    """Return when little else runs on this machine, or when the patience is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and psutil.cpu_percent(interval=0.5) > QUIET_PERCENT_MAX:
        pass


def _machine_seconds() -> float:
    """Of all processes, and of hosts that took the processor away from us."""
    times = psutil.cpu_times()
    return times.user + times.system + getattr(times, "softirq", 0.0) + getattr(times, "steal", 0.0)


def _family_seconds(pid: int) -> float:
    """With children that have ended: sessions of a database come and go."""
    parent = psutil.Process(pid)
    total = 0.0
    for process in (parent, *parent.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total
