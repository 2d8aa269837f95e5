"""What a person must be told: one line, and an exit code for scripts."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What scripts may rely on; 2 is a wrong use of the command line."""

    DEFECT = 1
    SETTINGS = 3
    UNREACHABLE = 4
    MISFIT = 5
    REFUSED = 6


class Mistake(Exception):
    """Something that a person must be told, in one line; the kinds of it say their exit code themselves."""

    exit_code = ExitCode.SETTINGS

    def __init__(self, message: str, exit_code: ExitCode | None = None) -> None:
        super().__init__(message)
        if exit_code is not None:
            self.exit_code = exit_code


class WrongShards(Mistake):
    """The number of shards is in sequences, chains and identifiers: it cannot change."""

    exit_code = ExitCode.MISFIT


def check_shards(what: str, found: int, configured: int) -> None:
    """Raises WrongShards."""
    if found != configured:
        raise WrongShards(
            f"{what} has {found} shards for ever; the configuration says {configured} (WALLET_LEDGER_SHARDS)"
        )
