"""Nothing runs whose hash is not in the list."""

import hashlib
from pathlib import Path

import pytest

from services.standalone import jars
from services.standalone.process import StandaloneError


class Repository:
    """Stands for jgo: one artifact, of which each fetch gives the next content."""

    def __init__(self, cached: Path, *contents: bytes) -> None:
        self.cached_path = cached
        self._contents = list(contents)

    def project(self, *_: str) -> "Repository":
        return self

    at_version = artifact = project

    def resolve(self) -> Path:
        if not self.cached_path.exists():
            self.cached_path.write_bytes(self._contents.pop(0))
        return self.cached_path


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A list with one jar, whose content is b"right"; answers the cache."""
    sums = tmp_path / "sums"
    sums.write_text(f"{hashlib.sha256(b'right').hexdigest()}  org.example:jar:1\n")
    monkeypatch.setattr(jars, "LIST", sums)
    (tmp_path / "kafka").mkdir()
    return tmp_path


def test_another_jar_is_refused_and_not_kept(listed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository(listed / "jar", b"wrong")
    monkeypatch.setattr(jars, "_context", lambda _: repository)
    with pytest.raises(StandaloneError, match=r"org\.example:jar:1 .* refused"):
        jars.classpath(listed)
    assert not (listed / "jar").exists()


def test_a_jar_cut_short_by_a_kill_is_fetched_again(listed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (listed / "jar").write_bytes(b"rig")
    monkeypatch.setattr(jars, "_context", lambda _: Repository(listed / "jar", b"right"))
    assert jars.classpath(listed) == [listed / "jar"]


def test_every_jar_of_the_checked_in_list_has_an_exact_version_and_a_hash() -> None:
    entries = jars._entries()
    assert any(coordinate == "org.apache.kafka:kafka_2.13:4.4.0" for _, coordinate in entries)
    assert all(len(digest) == 64 and coordinate.count(":") == 2 for digest, coordinate in entries)
