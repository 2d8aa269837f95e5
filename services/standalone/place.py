"""Where the database's files go. PostgreSQL refuses to run as root, who lends them to a nameless user."""

import os
import pwd
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from services.standalone.process import StandaloneError
from services.standalone.writing import write_whole

UID = 61_026  # outside the ranges of people, packages and systemd; needs no entry in /etc/passwd
ELSEWHERE = (Path("/var/lib/wallet-ledger"), Path("/var/tmp/wallet-ledger"))  # noqa: S108 - ours, 0711, root's
NOTE = "database-is-in.txt"


@dataclass(frozen=True)
class Place:
    """`folder` holds the cluster and, when the wheel is out of the server's reach, a copy of its programs."""

    folder: Path
    uid: int | None

    @property
    def cluster(self) -> Path:
        """PostgreSQL's data directory."""
        return self.folder / "cluster"

    @property
    def initdb_uid(self) -> int | None:
        """initdb, unlike the server, insists on a user with a name; `lend` passes its work on."""
        if self.uid is None:
            return None
        named = [entry for entry in pwd.getpwall() if entry.pw_uid != 0]
        if not named:
            raise StandaloneError("initdb needs a user other than root, and /etc/passwd has none")
        return next((entry.pw_uid for entry in named if entry.pw_name == "nobody"), named[0].pw_uid)

    def lend(self, folder: Path) -> None:
        """Give a folder and all in it to the server's user."""
        if self.uid is not None:
            for path, _, files in os.walk(folder):
                for name in (path, *(os.path.join(path, file) for file in files)):
                    os.chown(name, self.uid, self.uid, follow_symlinks=False)

    def programs(self, package: Path, version: str) -> Path:
        """The folder of `postgres` and `initdb`: the wheel's own, or a copy where the server may read it."""
        if self.uid is None or enterable(package / "pginstall" / "bin", self.uid):
            return package / "pginstall" / "bin"
        copy = self.folder / f"programs-{version}"
        if not copy.exists():
            older = [*self.folder.glob("programs*")]
            fresh = self.folder / "programs.new"
            shutil.rmtree(fresh, ignore_errors=True)
            for part in (package, package.with_name(f"{package.name}.libs")):
                if part.exists():
                    shutil.copytree(part, fresh / part.name, ignore=shutil.ignore_patterns("include", "*.py"))
            for path in (fresh, *fresh.rglob("*")):
                executable = path.is_dir() or path.stat().st_mode & 0o100
                path.chmod(0o755 if executable else 0o644)  # whatever the umask of the installation
            fresh.rename(copy)
            for folder in older:
                shutil.rmtree(folder, ignore_errors=True)
        return copy / package.name / "pginstall" / "bin"


def choose(folder: Path) -> Place:
    """Under `folder` if the server may enter it, else elsewhere, which a note in `folder` then remembers."""
    if os.geteuid() != 0:
        return Place(folder, None)
    note = folder / NOTE
    if note.exists():
        place = Place(Path(note.read_text().strip()), UID)
        if not place.folder.exists():
            raise StandaloneError(f"{note} says that the database is in {place.folder}, but it is not there")
        return place
    if enterable(folder, UID):
        return Place(folder, UID)
    name = secrets.token_hex(8)  # not from the path: a data folder made anew must not find an old database
    for parent in ELSEWHERE:
        if enterable(parent.parent, UID) and os.access(parent.parent, os.W_OK):
            for step in (parent, parent / name):
                make_enterable(step)
            write_whole(note, f"{parent / name}\n")
            return Place(parent / name, UID)
    raise StandaloneError(f"user {UID} can enter neither {folder} nor {ELSEWHERE[0].parent}")


def make_enterable(folder: Path) -> None:
    """Make a folder that root's database user may pass through, whatever the umask; an existing one stays as it is."""
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o711 if os.geteuid() == 0 else 0o700)


def enterable(folder: Path, uid: int) -> bool:
    """Whether this user may pass through the folder and all above it, by their modes."""
    for step in (folder.resolve(), *folder.resolve().parents):
        status = step.stat()
        wanted = 0o100 if status.st_uid == uid else 0o010 if status.st_gid == uid else 0o001
        if not status.st_mode & wanted:
            return False
    return True
