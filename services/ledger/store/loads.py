"""What a batch reads, on the very session that commits: a fixed number of statements. It blocks: for the store's thread."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from typing import LiteralString
from uuid import UUID

from psycopg import Connection
from psycopg.rows import TupleRow

from services.ledger.batches.receipts import Receipt, ReceiptKey
from services.ledger.batches.snapshots import Snapshot
from services.ledger.ports import Attempt, Loaded, Tried
from services.ledger.store import statements
from services.sessions import columns

STREAMED_ROWS = 100


class Loads:
    """See `ports.Store`."""

    def __init__(self, session: Connection[TupleRow]) -> None:
        self._session = session

    def load(
        self, streams: Sequence[UUID], keys: Sequence[ReceiptKey], attempts: Sequence[Attempt], since: int
    ) -> Loaded:
        found = self._found(statements.SNAPSHOTS, streams, list(streams))
        snapshots = {row[0]: Snapshot(*row) for row in found}
        receipts = {
            ReceiptKey(stream, origin, key): Receipt(*rest)
            for stream, origin, key, *rest in self._found(statements.RECEIPTS, keys, *columns(keys, 3))
        }
        tried: dict[Attempt, list[Tried]] = defaultdict(list)
        prints = columns(attempts, 3)
        for stream, hashed, attempt, name, *rest in self._found(
            statements.ATTEMPTS, attempts, *prints, since
        ):
            tried[Attempt(stream, hashed, attempt)].append(Tried(name, Receipt(hashed, *rest)))
        return Loaded(snapshots, receipts, tried)

    def histories(
        self, starts: Mapping[UUID, int], limit: int, take: Callable[[UUID, int, bytes], None]
    ) -> int:
        """Rows are not gathered: a long history is never in memory as a whole."""
        count = 0
        with self._session.cursor(binary=True) as cursor:
            wanted = [list(starts), list(starts.values()), limit, limit]
            for row in cursor.stream(statements.HISTORIES, wanted, size=STREAMED_ROWS):
                take(*row)
                count += 1
        return count

    def keep(self, snapshots: Sequence[Snapshot]) -> None:
        self._session.execute(statements.KEEP_SNAPSHOTS, columns(snapshots, 4))

    def _found(self, query: LiteralString, wanted: Sized, *parameters: object) -> Iterable[TupleRow]:
        """Rows; those that nobody wants are not asked for."""
        return self._session.execute(query, parameters, binary=True) if wanted else ()
