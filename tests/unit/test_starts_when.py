"""A service that is loaded waits for the file that says that all is prepared."""

import threading
from pathlib import Path

import pytest

from services.console.subcommands import await_file


def test_it_begins_when_the_file_is_there(tmp_path: Path) -> None:
    prepared = tmp_path / "prepared"
    threading.Timer(0.1, prepared.touch).start()
    await_file(prepared, 10)
    assert prepared.exists()


def test_it_does_not_wait_for_ever(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="prepared"):
        await_file(tmp_path / "prepared", 0.05)
