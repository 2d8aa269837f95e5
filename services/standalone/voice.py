"""What `up` says to a person, who may be gone: a pipe that nobody reads, a terminal that was closed."""

import contextlib
import time
from typing import Any

from rich.console import Console
from rich.text import Text


class Voice(Console):
    """That nobody hears us ends nothing: there are children to stop in order. Nothing that is said is markup."""

    def __init__(self) -> None:
        super().__init__(highlight=False, markup=False, emoji=False)
        self._began = time.monotonic()

    def say(self, line: str) -> None:
        """One line, and after how many seconds it was said."""
        seconds = f"{time.monotonic() - self._began:5.1f} s"
        self.print(Text.assemble((seconds, "dim"), f"  {line}"), soft_wrap=True)

    def print(self, *objects: Any, **options: Any) -> None:
        """As a console does; where it cannot, nothing more is said."""
        try:
            super().print(*objects, **options)
        except OSError:  # of a terminal: rich knows pipes only
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """Be quiet from now on. Rich would also exit."""
        with contextlib.suppress(SystemExit):
            super().on_broken_pipe()  # what is in the buffer goes nowhere, or it would spoil our exit code
