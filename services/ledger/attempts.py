"""Keyless commands of one batch, so that a caller's automatic retry is matched once with what it repeats."""

from services.ledger.intake import Asked
from services.ledger.ports import Attempt, AttemptRow, Loaded
from services.ledger.receipts import Receipt


class Attempts:
    """`loaded`: those of earlier batches that are sought in this one."""

    def __init__(self, loaded: Loaded, now: int) -> None:
        self._loaded = loaded
        self._now = now
        self._noted: dict[Attempt, list[Receipt]] = {}
        self._rows: dict[tuple[int, int], AttemptRow] = {}

    def match(self, asked: Asked, hashed: str) -> Receipt | None:
        """An automatic retry (attempt n) answers for one keyless command of the same print and n - 1, once."""
        attempt = asked.command.attempt
        sought = Attempt(asked.key.stream, hashed, attempt - 1)
        noted = self._noted.get(sought, [])
        for receipt in [*self._loaded.attempts.get(sought, []), *noted]:
            row = self._rows.get((receipt.shard, receipt.sequence))
            if row is None or row.attempt == attempt - 1:
                self.note(asked, hashed, receipt, attempt)
                return receipt
        return None

    def note(self, asked: Asked, hashed: str, receipt: Receipt, attempt: int) -> None:
        """From now on only attempt + 1 matches this receipt."""
        self._noted.setdefault(Attempt(asked.key.stream, hashed, attempt), []).append(receipt)
        self._rows[(receipt.shard, receipt.sequence)] = AttemptRow(
            receipt.shard, receipt.sequence, asked.key.stream, hashed, attempt, self._now
        )

    def rows(self) -> list[AttemptRow]:
        return list(self._rows.values())
