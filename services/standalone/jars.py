"""The broker's jars: exact coordinates, fetched into the project's cache, compared with a checked-in list."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import Artifact, MavenContext, PythonResolver

from services.standalone.process import StandaloneError

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("WALLET_LEDGER_CACHE_DIR") or ROOT / ".cache")  # as the bootstrap has it
COORDINATES = ROOT / "deploy" / "kafka.txt"
LIST = ROOT / "deploy" / "kafka.sha256"


def classpath(cache: Path = CACHE) -> list[Path]:
    """Every jar of the list, verified; fetches those that are missing. A complete cache may be read-only."""
    context, entries = _context(cache), _entries()
    found = [_kept(context, *entry) for entry in entries]
    if None not in found:
        return [path for path in found if path is not None]
    with _one_at_a_time(cache), ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(lambda entry: _verified(context, *entry), entries))


def lock(cache: Path = CACHE) -> None:
    """Resolve the coordinates with all they need and write the list."""
    context = _context(cache)
    wanted = [context.create_dependency(line) for line in _lines(COORDINATES)]
    for dependency in wanted:
        dependency.scope = "compile"
    inputs, transitive = context.resolver.resolve(wanted)
    artifacts = [d.artifact for d in [*inputs, *transitive] if d.scope in ("compile", "runtime")]
    entries = [
        f"{_sha256(artifact.resolve())}  {artifact.groupId}:{artifact.artifactId}:{artifact.version}"
        for artifact in artifacts
    ]
    entries.sort(key=lambda entry: entry.split()[1])
    LIST.write_text("\n".join(entries) + "\n")


def _entries() -> list[tuple[str, str]]:
    return [(digest, coordinate) for digest, coordinate in (line.split() for line in _lines(LIST))]


def _lines(file: Path) -> list[str]:
    try:
        lines = file.read_text().splitlines()
    except FileNotFoundError:
        raise StandaloneError(f"{file} is missing: run from a checkout of the project") from None
    return [line for line in lines if line and not line.startswith("#")]


def _context(cache: Path) -> MavenContext:
    repository = cache / "kafka"
    repository.mkdir(parents=True, exist_ok=True)
    remote = {"central": MAVEN_CENTRAL_URL}
    return MavenContext(
        PythonResolver(), repo_cache=repository, local_repos=[], remote_repos=remote, timeout=60
    )


def _artifact(context: MavenContext, coordinate: str) -> Artifact:
    group, name, version = coordinate.split(":")
    return context.project(group, name).at_version(version).artifact("", "jar")


def _kept(context: MavenContext, digest: str, coordinate: str) -> Path | None:
    path = _artifact(context, coordinate).cached_path
    return path if path is not None and path.exists() and _sha256(path) == digest else None


def _verified(context: MavenContext, digest: str, coordinate: str) -> Path:
    """A jar that was cut short by a kill is fetched again, once; another one is refused."""
    artifact = _artifact(context, coordinate)
    if _kept(context, digest, coordinate) is None and artifact.cached_path is not None:
        artifact.cached_path.unlink(missing_ok=True)
    try:
        path = artifact.resolve()
    except (OSError, RuntimeError) as failure:  # requests' errors are OSErrors
        raise StandaloneError(f"cannot fetch {coordinate}: {failure}") from failure
    found = _sha256(path)
    if found != digest:
        path.unlink()
        raise StandaloneError(f"{coordinate} has sha256 {found}, but {LIST.name} says {digest}: refused")
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _one_at_a_time(cache: Path) -> Iterator[None]:
    with (cache / "kafka" / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
