"""A service that is loaded waits for the file that says that all is prepared."""

import threading
import time
from pathlib import Path

import pytest

from services.console.subcommands import await_file


def test_it_begins_when_the_file_is_there(tmp_path: Path) -> None:
    prepared = tmp_path / "prepared"
    threading.Timer(0.2, prepared.touch).start()
    began = time.monotonic()
    await_file(prepared, 10)
    assert time.monotonic() - began >= 0.15


def test_it_does_not_wait_for_ever(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="prepared"):
        await_file(tmp_path / "prepared", 0.05)
