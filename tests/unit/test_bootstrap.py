"""What a person reads where the project cannot run, and that what is installed is what was asked for."""

import fcntl
import importlib.util
import os
import platform
import re
import shutil
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "deploy" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_old_python_is_one_line(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    assert bootstrap.main(["run"]) == 1
    assert re.fullmatch(r"make run: needs Python 3\.11 or later; .*\n", capsys.readouterr().err)


def test_linux_on_arm_without_a_compiler_is_one_line(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert bootstrap.main(["check"]) == 1
    said = capsys.readouterr().err
    assert "faust-streaming has no wheel" in said
    assert said.count("\n") == 1


def test_where_uv_finds_no_registry_pip_installs_the_very_same(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def logged(*argv: str | Path) -> None:
        asked.append(argv)
        if argv[2] == "uv":
            raise bootstrap.Failed("no route to a registry")

    monkeypatch.setattr(bootstrap, "_logged", logged)
    bootstrap._install_packages()
    assert [argv[2] for argv in asked] == ["pip", "uv", "pip"]
    assert all("--require-hashes" in argv for argv in asked)
    assert asked[1][asked[1].index("--python") + 1] == bootstrap.PYTHON, "whatever uv is told elsewhere"
    assert [argv[-1] for argv in asked] == [bootstrap.UV, bootstrap.REQUIREMENTS, bootstrap.REQUIREMENTS]


def test_clean_leaves_what_others_have_in_the_cache_and_lets_nobody_install_meanwhile(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cache, remove, locked = tmp_path / "of-a-person", shutil.rmtree, []

    def removes(folder: Path, ignore_errors: bool) -> None:
        with (cache / "install.lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                locked.append(folder.name)
        remove(folder, ignore_errors)

    for folder in (tmp_path / ".venv", tmp_path / ".mypy_cache", cache / "kafka" / "org", cache / "browser"):
        folder.mkdir(parents=True)
    (cache / "install.log").touch()
    for name, value in {"ROOT": tmp_path, "VENV": tmp_path / ".venv", "CACHE": cache}.items():
        monkeypatch.setattr(bootstrap, name, value)
    monkeypatch.setattr(shutil, "rmtree", removes)
    assert bootstrap.main(["clean"]) == 0
    assert {path.name for path in cache.iterdir()} == {"browser", "install.lock"}
    assert {path.name for path in tmp_path.iterdir()} == {cache.name}
    assert {".venv", "kafka"} <= set(locked), "an installation could begin meanwhile"


def test_an_activated_environment_is_the_same_python(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", os.path.realpath(sys.executable))
    outside = bootstrap._fingerprint()
    (tmp_path / "python3").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    assert bootstrap._fingerprint() == outside
    (tmp_path / "python3.12").touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3.12"))
    assert bootstrap._fingerprint() != outside


def test_lock_in_a_fresh_clone(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho pinned\n")
    python.chmod(0o755)
    written = {name: tmp_path / name.lower() for name in ("REQUIREMENTS", "UV")}
    for name, path in {**written, "PYTHON": python, "CACHE": tmp_path / "cache"}.items():
        monkeypatch.setattr(bootstrap, name, path)
    monkeypatch.setattr(bootstrap, "BY_PIP", (python,))
    monkeypatch.setattr(bootstrap, "install", lambda: 0)
    assert bootstrap.main(["lock"]) == 0
    assert [path.read_text() for path in written.values()] == ["pinned\n"] * 2


def test_an_unknown_target_is_told_the_known_ones(
    bootstrap: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bootstrap.main(["walk"]) == 2
    targets = set(re.findall(r"^make ([a-z-]+)", capsys.readouterr().out, re.MULTILINE))
    wanted = re.search(r"^\.PHONY: (.*) help$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert wanted is not None
    assert targets == set(wanted[1].split())


def test_every_dependency_is_pinned_with_hashes_and_names_no_place() -> None:
    text = "".join((ROOT / "deploy" / f"{name}.txt").read_text() for name in ("requirements", "uv"))
    assert "://" not in text
    assert "--index" not in text
    entries = [entry for entry in re.split(r"\n(?=\S)", text) if entry.strip()]
    assert all("--hash=sha256:" in entry for entry in entries)
    pinned = {}
    for entry in entries:
        requirement = Requirement(entry.split("\\")[0].strip())
        (version,) = requirement.specifier
        assert version.operator == "=="
        pinned[requirement.name] = version.version
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for line in project["dependencies"] + project["optional-dependencies"]["dev"]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(pinned[wanted.name]), f"{line}: run `make lock`"
