"""Files that are there as a whole or not at all, whatever ends us or fills the disk meanwhile."""

import os
from pathlib import Path


def write_whole(file: Path, text: str) -> None:
    """All or nothing, and readable by its owner only from the first byte on."""
    fresh = file.with_name(f"{file.name}.new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
        output.write(text)
        output.flush()
        os.fsync(output.fileno())
    fresh.replace(file)
