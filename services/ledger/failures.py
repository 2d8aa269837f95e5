"""What store and broker may answer instead of what the worker asked for."""

from services.mistakes import ExitCode, Mistake


class OwnershipLost(Exception):
    """The shard row moved without us: another worker owns it. Roll back, drop everything, say nothing."""


class Unstorable(Exception):
    """The store refuses the data itself; the transaction was rolled back and ownership is unharmed."""


class KnownKey(Exception):
    """A receipt of this batch exists already; the transaction was rolled back and ownership is unharmed."""


class WrongStore(Mistake):
    """The server's settings would break a promise; the worker refuses to run on it."""

    exit_code = ExitCode.MISFIT


class TopicDiverged(Exception):
    """`ledger.events` is ahead of the store or holds other bytes: the store was restored or is the wrong one."""


class Damaged(Exception):
    """An event of the store is neither compared nor published."""

    def __init__(self, sequence: int) -> None:
        super().__init__(f"the store's event at sequence {sequence} is missing or cannot be read")


class NotKept(Exception):
    """Kafka did not take a dead letter: whether it has it is unknown."""
