#!/usr/bin/env python3
"""One command for a fresh machine: `python3 deploy/bootstrap.py run`, or `make run`. Standard library."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
CACHE = Path(os.environ.get("WALLET_LEDGER_CACHE_DIR") or ROOT / ".cache")
REQUIREMENTS = ROOT / "deploy" / "requirements.txt"
UV = ROOT / "deploy" / "uv.txt"
HASHED = ("--require-hashes", "--no-deps", "-r")
BY_PIP = (PYTHON, "-m", "pip", "install", "--quiet", "--no-input", *HASHED)
JARS = ROOT / "deploy" / "kafka.sha256"
CODE = ["events", "services", "deploy", "tests", "benchmarks"]
CA_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
JOBS = {"test": "tests", "prove": "tests.proof", "bench": "benchmarks", "bench-growth": "benchmarks.growth",
        "audit-deps": "deploy.audit"}  # fmt: skip
HELP = """\
make run     start everything on this machine: Kafka, PostgreSQL, ledger, projections, intake, api
make install    .venv with wallet-ledger in its bin: for the services of a server
make test    run the tests (ARGS="tests/unit -k wallet" for some of them)
make check   format, lint, types, layers, generated schemas
make prove   prove the promises: an hour of model, faults, races, abuse, bugs put back (ARGS="--seed 7" repeats)
make bench   measure, with a baseline in the same run
make bench-growth   measure it young and with a million customers: long, and 40 GB of disk
make audit-deps   ask osv.dev for known vulnerabilities of pinned packages and jars; fails where it cannot
make lock    resolve the dependencies again and write their hashes
make clean   remove .venv and caches; data folders stay"""


class Failed(Exception):
    """What a person must be told, in one line."""


def main(arguments: list[str]) -> int:
    """Do what a target says; the exit code."""
    target, rest = (arguments[0], arguments[1:]) if arguments else ("help", [])
    targets: dict[str, Callable[[list[str]], int]]
    targets = {"run": run, "install": install, "check": check, "lock": lock, "clean": clean}
    targets |= dict.fromkeys(JOBS, _module)
    if target not in targets:
        print(HELP)
        return 0 if target == "help" else 2
    try:
        _refuse_what_cannot_work()
        return targets[target]([target, *rest] if target in JOBS else rest)
    except Failed as failure:
        print(f"make {target}: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def run(arguments: list[str]) -> int:
    """Replace this process by the supervisor, so that signals and the exit code are its own."""
    install()
    sys.stdout.flush()
    os.chdir(ROOT)
    _stop_when_make_is_gone()
    os.execve(PYTHON, [str(PYTHON), "-m", "services.cli", "up", *arguments], _environment())  # noqa: S606


def _module(words: list[str]) -> int:
    """A target that is one of our modules, with the same arguments."""
    install()
    return _call("-m", JOBS[words[0]], *words[1:])


def check(_: list[str]) -> int:
    """Everything that needs no server; runs all of it, and fails if one did."""
    install()
    steps = (
        ("format", ["-m", "ruff", "format", "--check", *CODE]),
        ("lint", ["-m", "ruff", "check", *CODE]),
        ("types", ["-m", "mypy"]),
        ("layers", ["-c", "from importlinter.cli import lint_imports_command as check; check()"]),
        ("generated schemas", ["-m", "events.generate", "--check"]),
    )
    failed = []
    for name, argv in steps:
        print(f"-- {name}", flush=True)
        if _call(*argv) != 0:
            failed.append(name)
    if failed:
        raise Failed(f"failed: {', '.join(failed)}")
    return 0


def lock(_: list[str]) -> int:
    """Write what is pinned anew, packages, uv and jars: versions and hashes, never where files came from."""
    with _one_at_a_time():
        if not PYTHON.exists():
            _make_venv()
        _logged(*BY_PIP, UV)
    options = ("--generate-hashes", "--universal", "--no-header", "--no-annotate", "--no-emit-index-url")
    for file, wanted in ((REQUIREMENTS, ("pyproject.toml", "--extra", "dev")), (UV, ("-",))):
        command = [str(PYTHON), "-m", "uv", "pip", "compile", "-q", *options, "--upgrade", *wanted]
        done = subprocess.run(command, cwd=ROOT, input="uv", stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
        if done.returncode != 0:
            raise Failed(f"uv could not resolve what {file.name} is made of")
        file.write_text(done.stdout)
    install()
    return _call("-m", "services.standalone", "lock", str(CACHE))


def clean(_: list[str]) -> int:
    """What can be made again."""
    caches = (ROOT / f".{tool}_cache" for tool in ("mypy", "ruff", "pytest", "import_linter"))
    with _one_at_a_time():
        for folder in (VENV, CACHE / "kafka", *caches):  # not CACHE: others may have theirs there too
            shutil.rmtree(folder, ignore_errors=True)
        (CACHE / "install.log").unlink(missing_ok=True)  # not install.lock: others may wait for it
    return 0


def install(_: Sequence[str] = ()) -> int:
    """Bring .venv and the broker's jars up to date; quick when nothing changed."""
    with _one_at_a_time():
        wanted = _fingerprint()
        stamp = VENV / "installed"
        if not stamp.exists() or stamp.read_text() != wanted:
            stamp.unlink(missing_ok=True)
            with _step("python environment in .venv"):
                _make_venv()
            with _step("packages, each checked against its hash"):
                _install_packages()
                _install_project()
            with _step("Kafka, each jar checked against its hash, and one start to make later ones fast"):
                _logged(PYTHON, "-m", "services.standalone", "prepare", CACHE)
            stamp.write_text(wanted)
    return 0


def _refuse_what_cannot_work() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - this file runs before there is an environment
        raise Failed(f"needs Python 3.11 or later; {sys.executable} is {platform.python_version()}")
    if sys.platform not in ("linux", "darwin"):
        raise Failed(f"runs on Linux and macOS, not on {sys.platform}")
    arm_linux = sys.platform == "linux" and platform.machine() in ("aarch64", "arm64")
    if arm_linux and not (shutil.which("cc") or shutil.which("gcc")):
        raise Failed("on Linux arm64 faust-streaming has no wheel: install a C compiler and Python headers")


def _stop_when_make_is_gone() -> None:
    """Without this, kill -9 of `make` would leave everything that it runs."""
    if sys.platform == "linux" and "MAKELEVEL" in os.environ:
        ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG; outlives exec


def _make_venv() -> None:
    shutil.rmtree(VENV, ignore_errors=True)
    try:
        import ensurepip  # noqa: F401 - Debian packs it apart
        import venv
    except ImportError:
        raise Failed(f"{sys.executable} cannot make environments; Debian: apt install python3-venv") from None
    venv.create(VENV, with_pip=True, symlinks=True)


def _install_packages() -> None:
    """By uv in a tenth of pip's time; else by pip, because companies tell pip of their registry and proxy."""
    uv = (PYTHON, "-m", "uv", "pip", "install", "--quiet", "--compile-bytecode", "--system-certs")
    try:
        _logged(*BY_PIP, UV)
        _logged(*uv, "--python", PYTHON, *HASHED, REQUIREMENTS)  # else uv's own settings may name another
    except Failed:
        _logged(*BY_PIP, REQUIREMENTS)


def _install_project() -> None:
    """What an editable install would write, without a build backend: path, command, name and version."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (packages,) = (VENV / "lib").glob("python3.*/site-packages")
    (packages / "wallet_ledger.pth").write_text(f"{ROOT}\n")
    metadata = packages / f"wallet_ledger-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    command = VENV / "bin" / "wallet-ledger"  # not a #! with Python's path, which may have spaces
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(str(PYTHON))} -m services.cli "$@"\n')
    command.chmod(0o755)


def _fingerprint() -> str:
    """Changes when what is installed would; in an activated .venv it is that of the Python which .venv links to."""
    digest = hashlib.sha256(f"{sys.version} {os.path.realpath(sys.executable)} {ROOT}".encode())
    for file in (REQUIREMENTS, UV, JARS, Path(__file__), ROOT / "pyproject.toml"):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _environment() -> dict[str, str]:
    """Ours, with the system's certificates for requests, which knows only its own and none of a company."""
    environment = dict(os.environ)
    for bundle in filter(os.path.exists, CA_BUNDLES):
        environment.setdefault("REQUESTS_CA_BUNDLE", bundle)
    return environment


def _call(*argv: str) -> int:
    return subprocess.run([str(PYTHON), *argv], cwd=ROOT, env=_environment(), check=False).returncode  # noqa: S603


def _logged(*argv: str | Path) -> None:
    """Output goes to a file; a person sees the end of it when it fails."""
    log = CACHE / "install.log"
    with log.open("wb") as output:
        words = [str(word) for word in argv]
        done = subprocess.run(words, cwd=ROOT, env=_environment(), stdout=output, stderr=output, check=False)  # noqa: S603
    if done.returncode != 0:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise Failed(f"installation failed; the end of {log}:\n{end}")


@contextmanager
def _step(what: str) -> Iterator[None]:
    print(f"-- {what} ...", end=" ", flush=True)
    start = time.monotonic()
    try:
        yield
    except BaseException:
        print("failed", flush=True)
        raise
    print(f"{time.monotonic() - start:.1f} s", flush=True)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    import fcntl

    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "install.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"-- waiting for another installation that uses {CACHE}", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
