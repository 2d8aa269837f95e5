"""What the parent of the loading processes says of one that ended."""

from multiprocessing import Pipe
from types import SimpleNamespace
from typing import Any

import pytest

from services.children import told_to_parent
from services.projections.rebuild.load import LoadFailed, _check
from services.reading import Silent


def test_of_a_killed_process_its_exit_code_is_told() -> None:
    """Its end of the pipe is closed: that is no message."""
    ours, theirs = Pipe(duplex=False)
    theirs.close()
    killed: Any = SimpleNamespace(exitcode=-9)
    with pytest.raises(LoadFailed, match="ended with -9"):
        _check([(killed, ours)])


def test_what_a_process_met_is_raised_as_it_is() -> None:
    """A Kafka that is silent has another exit code than a log that has lost its beginning."""
    ours, theirs = Pipe(duplex=False)
    with pytest.raises(SystemExit), told_to_parent(theirs):
        raise Silent("Kafka sent nothing")
    ended: Any = SimpleNamespace(exitcode=1)
    with pytest.raises(Silent, match="Kafka sent nothing"):
        _check([(ended, ours)])
