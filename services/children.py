"""Processes that we start of ourselves. One that loses its parent leaves, at whatever it is; what one fails with is its
parent's to raise, once, with its exit code."""

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any

TRACE_MAX = 16_000
"""Characters. The parent reads a pipe of 64 KiB, now and then."""
_spawn = multiprocessing.get_context("spawn")


class _Packed:
    """What a child runs, unpacked late: naming a function loads its module, and that takes a second."""

    def __init__(self, run: Callable[..., int], *arguments: object) -> None:
        self._work: Any = (run, arguments)

    def __getstate__(self) -> bytes:
        return bytes(ForkingPickler.dumps(self._work))

    def __setstate__(self, packed: bytes) -> None:
        self._work = packed

    def run(self) -> int:
        """In the child."""
        run, arguments = pickle.loads(self._work)  # noqa: S301 - our parent's
        code: int = run(*arguments)
        return code


def begin(name: str, run: Callable[..., int], *arguments: object) -> tuple[BaseProcess, Connection]:
    """Start a process that `run`s to its exit code, and the pipe of which `failure_of` reads."""
    ours, theirs = _spawn.Pipe(duplex=False)
    child = _spawn.Process(target=_live, args=(theirs, _Packed(run, *arguments)), name=name, daemon=True)
    child.start()
    theirs.close()
    return child, ours


def failure_of(child: Connection) -> Exception | None:
    """In the parent. None where it told nothing: it was killed, or has not failed."""
    try:
        chain: list[BaseException] = child.recv() if child.poll() else []
    except EOFError:  # its end of the pipe is closed
        return None
    for error, cause in pairwise(chain):
        error.__cause__ = cause
    return chain[0] if chain and isinstance(chain[0], Exception) else None


def _live(parent: Connection, work: _Packed) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with told_to_parent(parent):
        code = work.run()
    raise SystemExit(code)


def _end_with_parent() -> None:
    """By SIGTERM: who has something to put in order first handles that anyway, and all others end at once."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def told_to_parent(parent: Connection) -> Iterator[None]:
    """In the child. Its own trace goes along as a note, which is shown where the failure is a defect."""
    try:
        yield
    except Exception as error:  # whatever it is: the parent raises it again
        trace = traceback.format_exc()[-TRACE_MAX:]
        error.add_note(f"In process {multiprocessing.current_process().name}:\n{trace}")
        parent.send([*_with_causes(error)])  # one by one: pickled, an exception has lost them
        raise SystemExit(1) from error


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        for inner in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
            yield from _with_causes(inner.__cause__)
        error = error.__cause__
