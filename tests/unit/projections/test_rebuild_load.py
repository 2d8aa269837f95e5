"""What the parent of the loading processes says of one that ended."""

from multiprocessing import Pipe
from types import SimpleNamespace
from typing import Any

import pytest

from services.projections.rebuild.load import LoadFailed, _check


def test_of_a_killed_process_its_exit_code_is_told() -> None:
    """Its end of the pipe is closed: that is no message."""
    ours, theirs = Pipe(duplex=False)
    theirs.close()
    killed: Any = SimpleNamespace(exitcode=-9)
    with pytest.raises(LoadFailed, match="ended with -9"):
        _check([(killed, ours)])


def test_what_a_process_said_before_its_end_is_told() -> None:
    ours, theirs = Pipe(duplex=False)
    theirs.send("ChainBroken: shard 1 at 5")
    ended: Any = SimpleNamespace(exitcode=1)
    with pytest.raises(LoadFailed, match="shard 1 at 5"):
        _check([(ended, ours)])
