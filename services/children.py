"""Processes that we start of ourselves: what one of them fails with is its parent's to raise, once, with its exit code."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import current_process
from multiprocessing.connection import Connection


@contextmanager
def told_to_parent(parent: Connection) -> Iterator[None]:
    """In the child. Its own trace goes along as a note, which is shown where the failure is a defect."""
    try:
        yield
    except Exception as error:  # whatever it is: the parent raises it again
        error.add_note(f"In process {current_process().name}:\n{traceback.format_exc()}")
        parent.send(error)
        raise SystemExit(1) from error


def failure_of(child: Connection) -> Exception | None:
    """In the parent. None where it told nothing: it was killed, or has not failed."""
    try:
        error: Exception | None = child.recv() if child.poll() else None
    except EOFError:  # its end of the pipe is closed
        return None
    return error
