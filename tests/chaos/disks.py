"""Small disks in memory that can be full: a tmpfs that shrinks to what is on it."""

import os
import subprocess
import sys
from pathlib import Path

MEBI = 1 << 20
SIZE = 4096 * MEBI
"""No more than is written takes memory."""
ROOM = 64 << 10
TRIES = 50


class Disk:
    """Mounted on `folder` until `unmount`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mounted = False

    def mount(self, mode: str = "0755") -> bool:
        """Whether this machine and user may."""
        if sys.platform != "linux" or os.geteuid() != 0:
            return False
        self.folder.mkdir(parents=True, exist_ok=True)
        options = f"size={SIZE},mode={mode}"
        self.mounted = _done("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder))
        return self.mounted

    def fill(self) -> None:
        """From now on nothing more fits."""
        for _ in range(TRIES):  # it grows meanwhile, and cannot be made smaller than what is on it
            found = os.statvfs(self.folder)
            if self._resized((found.f_blocks - found.f_bfree) * found.f_frsize + ROOM):
                return
        raise AssertionError(f"{self.folder} grows too fast to be filled")

    def free(self) -> None:
        """There is room again."""
        assert self._resized(SIZE)

    def unmount(self) -> None:
        if self.mounted:
            self.mounted = not _done("umount", "-l", str(self.folder))

    def _resized(self, size: int) -> bool:
        return _done("mount", "-o", f"remount,size={size}", str(self.folder))


def _done(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0
