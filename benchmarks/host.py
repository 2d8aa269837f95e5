"""Where the figures were made: without it they say nothing."""

import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.stage import Stage

PACKAGES = ("aiokafka", "faust-streaming", "litestar", "msgspec", "psycopg", "uvicorn", "uvloop")
DURABILITY = ("fsync", "full_page_writes", "synchronous_commit", "wal_sync_method", "shared_buffers")
ROOT = Path(__file__).resolve().parent.parent
_SYNCS = 200
_VERIFICATIONS = 5_000


def machine(stage: Stage) -> dict[str, Any]:
    """Processor, memory, kernel, disk; the last three say how fast it was just then, and how quiet."""
    return {
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "filesystem": _filesystem(stage.folder),
        "fdatasync_ms_p50": _sync_ms(stage.folder),
        "verify_us": verify_us(),
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "steal_percent": psutil.cpu_times_percent(0.5).steal if sys.platform == "linux" else None,
    }


def versions(stage: Stage) -> dict[str, str]:
    """Of what the figures depend on most."""
    with psycopg.connect(stage.postgres.dsn()) as connection:
        shown = connection.execute("SHOW server_version").fetchone()
    assert shown is not None
    jars = (ROOT / "deploy" / "kafka.txt").read_text().split()
    return {
        "python": platform.python_version(),
        "python_build": f"{' '.join(platform.python_build())}, {platform.python_compiler()}",
        "postgresql": shown[0],
        "kafka": next(jar.rpartition(":")[2] for jar in jars if ":kafka_" in jar),
        **{name: version(name) for name in PACKAGES},
    }


def durability(stage: Stage) -> dict[str, str]:
    """As the server shows it to a session like the worker's, not as we believe to have set it."""
    with psycopg.connect(stage.dsn("store")) as connection:
        rows = connection.execute(
            "SELECT name, current_setting(name) FROM unnest(%s::text[]) AS name", [list(DURABILITY)]
        ).fetchall()
    return {**dict(rows), "kafka_acks": "all"}


def commit() -> dict[str, Any]:
    """Of the working tree; `changed` when it has more than that commit."""
    head, status = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return {"commit": head, "changed": bool(status)}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=10
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?")


def _filesystem(folder: Path) -> str:
    """Type of the file system that holds the data: on tmpfs a durable commit costs nothing."""
    mounts = [m for m in psutil.disk_partitions(all=True) if folder.is_relative_to(m.mountpoint)]
    return max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else "?"


def verify_us() -> float:
    """Processor time of one Ed25519 verification: makes runs comparable where a processor is shared."""
    key = Ed25519PrivateKey.generate()
    public, signature = key.public_key(), key.sign(b"wallet")
    began = time.process_time()
    for _ in range(_VERIFICATIONS):
        public.verify(signature, b"wallet")
    return round((time.process_time() - began) / _VERIFICATIONS * 1e6, 1)


def _sync_ms(folder: Path) -> float:
    """What one durable write of 8 KiB costs here: the floor under every commit."""
    file = os.open(folder / "sync", os.O_WRONLY | os.O_CREAT)
    times = []
    try:
        for _ in range(_SYNCS):
            os.pwrite(file, bytes(8192), 0)
            began = time.perf_counter()
            os.fsync(file) if sys.platform == "darwin" else os.fdatasync(file)
            times.append(time.perf_counter() - began)
    finally:
        os.close(file)
    return round(sorted(times)[_SYNCS // 2] * 1e3, 3)
