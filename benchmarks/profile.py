"""Where the time goes: py-spy on what is measured. It slows it: such figures are to read, not to compare."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.meter import Meter
from benchmarks.stage import Stage

PROFILED = ("api", "ledger", "projections", "baseline-0")
SAMPLES_PER_SECOND = 200
_IDLE = "_worker (concurrent/futures/thread.py:81)"
"""It waits for work in C, which py-spy cannot tell from working."""
_LINE = re.compile(r":\d+\)$")
_PY_SPY = Path(sys.executable).parent / "py-spy"


@contextmanager
def recording(stage: Stage, folder: Path | None, scenario: str, seconds: float) -> Iterator[None]:
    """Write `<scenario>.<process>.raw` (one line per stack) and `….txt` (a summary). Without a folder: nothing."""
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"{scenario}.{name}.raw" for name in PROFILED if name in stage.running}
    spies = [_spy(stage.running[name].pid, file, seconds) for name, file in files.items()]
    try:
        yield
    finally:
        for spy in spies:
            spy.wait(60)
    for file in files.values():
        if file.exists():
            file.with_suffix(".txt").write_text(summary(file))


@contextmanager
def looking(stage: Stage, meter: Meter, folder: Path | None, scenario: str, seconds: float) -> Iterator[None]:
    """What it costs, and where: metered and recorded."""
    with meter, recording(stage, folder, scenario, seconds):
        yield


def _spy(pid: int, file: Path, seconds: float) -> "subprocess.Popen[bytes]":
    options = ["-d", str(max(1, int(seconds))), "-r", str(SAMPLES_PER_SECOND), "-f", "raw", "-o", str(file)]
    return subprocess.Popen(
        [str(_PY_SPY), "record", *options, "-p", str(pid)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def summary(file: Path, top: int = 60) -> str:
    """Shares of the samples in which a function was on the stack, and in which it was at its end."""
    inclusive: Counter[str] = Counter()
    own: Counter[str] = Counter()
    total = 0
    for line in file.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        if stack.endswith(_IDLE):
            continue
        frames = [_LINE.sub(")", frame) for frame in stack.split(";")]
        total += int(count)
        own[frames[-1]] += int(count)
        for frame in set(frames):
            inclusive[frame] += int(count)
    lines = [f"{total} samples"]
    for title, counter in (("inclusive", inclusive), ("own", own)):
        shown = [(frame, count) for frame, count in counter.most_common() if count < total]
        lines.append(f"-- {title}")
        lines += [f"{count / total:6.1%}  {frame}" for frame, count in shown[:top]]
    return "\n".join(lines) + "\n"
