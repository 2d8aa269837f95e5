"""Keyless commands and the callers' automatic retries of them, within one batch. No I/O."""

from collections.abc import Mapping, Sequence

from services.ledger.intake import Asked
from services.ledger.ports import Attempt, AttemptRow, Tried
from services.ledger.receipts import Receipt


class Attempts:
    """`loaded`: what the store knows of those asked for. `rows`: what this batch adds."""

    def __init__(self, loaded: Mapping[Attempt, Sequence[Tried]], now: int) -> None:
        self._loaded = loaded
        self._noted: dict[Attempt, list[Tried]] = {}
        self._now = now
        self.rows: list[AttemptRow] = []

    def match(self, asked: Asked, hashed: str) -> Receipt | None:
        """An automatic retry (attempt n) answers for one keyless command of the same print and n - 1, once.

        The retry has no receipt of its own: read again, it is known by its command id.
        """
        attempt = asked.command.attempt
        answered = self._known(Attempt(asked.key.stream, hashed, attempt))
        for tried in answered:
            if tried.command_id == asked.command.id:
                return tried.receipt
        taken = {(tried.receipt.shard, tried.receipt.sequence) for tried in answered}
        for tried in self._known(Attempt(asked.key.stream, hashed, attempt - 1)):
            if (tried.receipt.shard, tried.receipt.sequence) not in taken:
                self.note(asked, hashed, tried.receipt)
                return tried.receipt
        return None

    def note(self, asked: Asked, hashed: str, receipt: Receipt) -> None:
        """This is the command's answer."""
        stream, attempt, identity = asked.key.stream, asked.command.attempt, asked.command.id
        self._noted.setdefault(Attempt(stream, hashed, attempt), []).append(Tried(identity, receipt))
        self.rows.append(
            AttemptRow(receipt.shard, receipt.sequence, stream, hashed, attempt, self._now, identity)
        )

    def _known(self, attempt: Attempt) -> list[Tried]:
        return [*self._loaded.get(attempt, ()), *self._noted.get(attempt, ())]
