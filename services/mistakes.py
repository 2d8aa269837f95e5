"""What a person must be told: one line, and an exit code for scripts."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What scripts may rely on; 1 is a defect of ours, 2 a wrong use of the command line."""

    SETTINGS = 3
    UNREACHABLE = 4
    MISFIT = 5
    REFUSED = 6


class Mistake(Exception):
    """Something that a person must be told, in one line."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.SETTINGS) -> None:
        super().__init__(message)
        self.exit_code = exit_code
