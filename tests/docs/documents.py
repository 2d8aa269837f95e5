"""The documents of this project, as tests read them."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced piece of code."""

    document: Path
    language: str
    text: str


@cache
def documents() -> list[Path]:
    """Every Markdown file that belongs to the project."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    found = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    assert ROOT / "README.md" in found
    return [path for path in found if path.exists()]


def blocks(language: str) -> Iterator[Block]:
    """All fenced pieces of one language."""
    for document in documents():
        for found, text in _FENCE.findall(document.read_text()):
            if found == language:
                yield Block(document, found, text)


def prose(document: Path) -> str:
    """A document without its fenced pieces."""
    return _FENCE.sub("", document.read_text())


def rows(document: Path) -> Iterator[list[str]]:
    """The cells of every line of every table."""
    for line in prose(document).splitlines():
        if line.startswith("|") and not line.startswith("|--"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def name_of(document: Path) -> str:
    """For messages and test ids."""
    return str(document.relative_to(ROOT))


def run_readme(folder: Path) -> None:
    """Run the README's own lines, unchanged, in a folder where `make run` is up: ready.json in its `.data`.

    Raises:
        AssertionError: what the README tells people to type does not work.
    """
    python = folder / ".venv" / "bin" / "python"
    for block in blocks("python"):
        if block.document == ROOT / "README.md":
            _run([str(python) if python.exists() else sys.executable, "-c", block.text], folder)
    for block in blocks("sh") if shutil.which("curl") else ():  # a fresh machine may have none
        if block.document == ROOT / "README.md" and "curl " in block.text:
            _run(["sh", "-euc", block.text], folder)


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
