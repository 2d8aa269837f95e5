"""What a child process fails with comes to its parent whole: what people are told, the exit code, a defect's trace. And a
child leaves when its parent is gone, whatever it is at."""

import os
import subprocess
import sys
from multiprocessing import Pipe
from pathlib import Path

import psutil
import psycopg
import pytest

from services.api.ports import ViewsUnavailable
from services.children import failure_of, told_to_parent
from services.console.mistakes import explain
from services.keyring import WrongKek
from services.mistakes import ExitCode, WrongShards
from services.projections.applying import ChainBroken
from services.projections.chain import Break
from services.reading import Incomplete, Silent
from services.topics import WrongTopic


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Silent("Kafka sent nothing"), ExitCode.UNREACHABLE),
        (Incomplete("the first records are gone"), ExitCode.MISFIT),
        (psycopg.OperationalError("gone"), ExitCode.UNREACHABLE),
        (psycopg.errors.UndefinedTable("no table"), ExitCode.MISFIT),
        (WrongShards("has 33 shards"), ExitCode.MISFIT),
        (WrongTopic("is missing"), ExitCode.MISFIT),
        (WrongKek("none unwraps"), WrongKek.exit_code),
        (OSError(98, "Address already in use"), ExitCode.SETTINGS),
        (ExceptionGroup("some", [Silent("Kafka sent nothing")]), ExitCode.UNREACHABLE),
        (ChainBroken([Break(1, 5, "a gap")]), None),
        (AssertionError("a defect"), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_is_told_as_that_of_one_process(error: Exception, code: ExitCode | None) -> None:
    ours, theirs = Pipe(duplex=False)
    with pytest.raises(SystemExit) as ended, told_to_parent(theirs):
        raise error
    found = failure_of(ours)
    assert ended.value.code == 1
    assert found is not None
    assert (type(found), str(found)) == (type(error), str(error))
    assert "test_children.py" in found.__notes__[0], "where it was raised"
    mistake = explain(found)
    assert (mistake and mistake.exit_code) == code


@pytest.mark.parametrize("grouped", [False, True])
def test_what_a_failure_came_from_is_told_with_it(grouped: bool) -> None:
    """The api's own say what they mean by their cause."""
    ours, theirs = Pipe(duplex=False)
    error: Exception = ViewsUnavailable()
    error.__cause__ = psycopg.OperationalError("the server closed the connection")
    error = ExceptionGroup("some", [error]) if grouped else error
    with pytest.raises(SystemExit), told_to_parent(theirs):
        raise error
    found = failure_of(ours)
    assert found is not None
    mistake = explain(found)
    assert mistake is not None
    assert mistake.exit_code == ExitCode.UNREACHABLE


def test_who_was_killed_or_has_not_failed_told_nothing() -> None:
    ours, theirs = Pipe(duplex=False)
    assert failure_of(ours) is None
    theirs.close()
    assert failure_of(ours) is None


PARENT = """
import sys, time
from services.children import begin

if __name__ == "__main__":
    import work
    child, _ = begin("one", getattr(work, sys.argv[1]))
    time.sleep(600)
"""
WORK = """
import multiprocessing, os, signal, sys, threading, time

def said(word):
    print(word, os.getpid(), flush=True)

def wait():
    said("works")
    time.sleep(600)

def in_order():
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    said("works")
    told.wait()
    said("left in order")
    return 0

if multiprocessing.parent_process() and sys.argv[1] == "load":
    said("loads")
    time.sleep(600)

load = wait
"""


@pytest.mark.parametrize(
    ("stage", "before", "after"),
    [("load", "loads", ""), ("wait", "works", ""), ("in_order", "works", "left in order")],
)
def test_a_child_ends_with_its_parent(tmp_path: Path, stage: str, before: str, after: str) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    (tmp_path / "work.py").write_text(WORK)
    parent = subprocess.Popen(
        [sys.executable, "parent.py", stage],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    word, _, pid = parent.stdout.readline().partition(" ")
    child = psutil.Process(int(pid))
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs([child], timeout=10)
    for left in alive:
        left.kill()
    assert (word, alive) == (before, [])
    assert parent.stdout.read().rpartition(" ")[0] == after
