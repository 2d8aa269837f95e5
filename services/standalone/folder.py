"""The data folder: one user at a time, secrets that only its owner reads, what scripts need to know."""

import base64
import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from services.mistakes import Mistake
from services.standalone.place import make_enterable
from services.standalone.writing import write_whole

ROTATED_BYTES = 16 * 1024 * 1024
LOCK_TRIES, LOCK_SECONDS = 10, 0.05


class Folder:
    """Paths of one data folder, made when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.logs = self.path / "logs"
        self.ready = self.path / "ready.json"
        self.prepared = self.path / "prepared"
        self.played = self.path / "upstream.json"

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the folder for this process; a kill lets go of it too.

        Raises:
            Mistake: another process has it, or it cannot be made.
        """
        try:
            make_enterable(self.path)
            self.logs.mkdir(mode=0o700, exist_ok=True)
            file = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Mistake(f"cannot use the data folder {self.path}: {error.strerror}") from error
        with os.fdopen(file, "r+") as lock:
            if not _locked(lock):
                raise Mistake(
                    f"the data folder {self.path} is in use by process {lock.read().strip() or '?'}: "
                    "stop that one, or set WALLET_LEDGER_DATA_DIR"
                )
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            self._tell_nothing()  # after kill -9 it still stands there
            try:
                yield
            finally:
                self._tell_nothing()

    def told(self) -> dict[str, Any]:
        """What the `up` that runs here says of itself; empty where none does, whatever one that was killed left.

        Raises:
            Mistake: it is another user's.
        """
        try:
            with (self.path / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._read_ready()
        except PermissionError as error:
            raise Mistake(f"the data folder {self.path} belongs to another user: ask as that one") from error
        except (FileNotFoundError, NotADirectoryError):
            pass
        return {}

    def _read_ready(self) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads(self.ready.read_text())
        except FileNotFoundError:  # it starts, or stops
            return {}
        return content

    def _tell_nothing(self) -> None:
        for file in (self.ready, self.prepared):
            file.unlink(missing_ok=True)

    def log(self, name: str) -> Path:
        """Where a child writes; a long log of earlier runs is put aside, and the one before it dropped."""
        log = self.logs / f"{name}.log"
        if log.exists() and log.stat().st_size > ROTATED_BYTES:
            log.replace(log.with_suffix(".1.log"))
        return log

    def secrets(self) -> dict[str, str]:
        """Made at the first start: losing them makes sealed personal data unreadable."""
        file = self.path / "secrets.json"
        stored: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        fresh = {
            "key_encryption_key": base64.b64encode(secrets.token_bytes(32)).decode(),
            "webhook_secret_key": base64.b64encode(secrets.token_bytes(32)).decode(),
            "request_hash_secret": secrets.token_urlsafe(32),
        }
        if not fresh.keys() <= stored.keys():  # the folder is new, or older than one of them
            stored = fresh | stored
            write_private(file, stored)
        return stored

    def remember(self, **values: str) -> None:
        """Add to the secrets."""
        write_private(self.path / "secrets.json", {**self.secrets(), **values})


def write_private(file: Path, content: dict[str, Any]) -> None:
    """As JSON, for the owner's eyes only."""
    write_whole(file, f"{json.dumps(content, indent=2)}\n")


def _locked(lock: TextIO) -> bool:
    """A command that looks who runs here holds it for a moment."""
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_SECONDS)
        else:
            return True
    return False
