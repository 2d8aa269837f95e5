"""`make test`: all tests, several at a time, then one by one those that need the machine for themselves.

Each process of tests has servers of its own, started once: topics have the same names everywhere.
With arguments, or with servers named in the environment, it is pytest itself.
"""

import os
import subprocess
import sys

from tests.servers import KAFKA, POSTGRES

PROCESSES_MAX = 4
"""A Kafka and a PostgreSQL each. One more than there are cores: every test of servers also waits for them."""
SPREAD = ("--dist", "loadfile", "--no-loadscope-reorder")
"""In the order of their names: files with servers come first, many small ones fill what is left at the end."""


def main(arguments: list[str]) -> int:
    """The exit code of pytest; where both parts fail, of the second."""
    if arguments or os.environ.get(KAFKA) or os.environ.get(POSTGRES):
        return _pytest(*arguments)
    processes = min(PROCESSES_MAX, (os.cpu_count() or 1) + 1)
    together = _pytest("-m", "not alone", "-n", str(processes), *SPREAD)
    return _pytest("-m", "alone") or together


def _pytest(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
