"""What a full disk or a kill leaves behind: a file that is whole, or none."""

import os
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.standalone import place
from services.standalone.folder import Folder
from services.standalone.postgres import Postgres

WITH_PASSWORD = re.compile(r"postgresql://ledger:[\w-]{32}@127\.0\.0\.1:\d+/postgres")


@contextmanager
def full_disk() -> Iterator[None]:
    """Files can be made, and nothing can be written into them."""
    allowed, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
    try:
        with pytest.raises(OSError, match="File too large"):
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (allowed, most))


def test_the_databases_password(tmp_path: Path) -> None:
    server = Postgres(tmp_path)
    with full_disk():
        server.dsn()
    assert WITH_PASSWORD.fullmatch(server.dsn())
    assert server.dsn() == server.dsn()


def test_an_empty_password_of_an_earlier_version_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "password").touch()
    assert WITH_PASSWORD.fullmatch(Postgres(tmp_path).dsn())


def test_the_note_that_says_where_the_database_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed, elsewhere = tmp_path / "closed", tmp_path / "elsewhere"
    closed.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(place, "ELSEWHERE", (elsewhere,))
    monkeypatch.setattr(place, "enterable", lambda folder, _: folder != closed)
    with full_disk():
        place.choose(closed)
    found = place.choose(closed)
    assert found.folder.parent == elsewhere
    assert place.choose(closed) == found


def test_the_secrets(tmp_path: Path) -> None:
    with full_disk():
        Folder(tmp_path).secrets()
    made = Folder(tmp_path).secrets()
    with full_disk():
        Folder(tmp_path).remember(api_key="wl_test_x")
    assert Folder(tmp_path).secrets() == made
