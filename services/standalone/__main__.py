"""For the bootstrap: `python -m services.standalone prepare CACHE` fetches the broker; `lock` writes the list."""

import sys
from pathlib import Path

from services.mistakes import Mistake
from services.standalone.jars import lock
from services.standalone.kafka import prepare


def main(arguments: list[str]) -> int:
    """The exit code; what went wrong is one line."""
    try:
        (prepare if arguments[0] == "prepare" else lock)(Path(arguments[1]))
    except Mistake as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
