"""What one shard's topic has beyond its store: followed event by event, as the commits that take it back. Pure."""

from dataclasses import dataclass, field
from uuid import UUID

from msgspec import UNSET
from msgspec.structs import replace

from events.codec import Malformed, decode_fact, digest, micros
from events.envelope import Envelope
from services.ledger.batches.receipts import ReceiptKey, row_of
from services.ledger.ports import AttemptRow, Commit, ShardRow, StoredRow
from services.ledger.recovery.report import Recovered

BATCH_EVENTS_MAX = 500
BATCH_BYTES_MAX = 4 * 1024 * 1024
RECENT_MAX = 10_000


class TailRefused(Exception):
    """The topic does not continue this store; what was taken before stays."""


@dataclass
class Tail:
    """`row` is the shard row with all that is pending, `committed` the one in the store."""

    row: ShardRow
    anywhere: bool = False
    """The place of the last published record is not known any more: every record may be the first."""
    committed: ShardRow = field(init=False)
    pending: list[tuple[Envelope, bytes]] = field(default_factory=list)
    known: dict[int, bytes] = field(default_factory=dict)
    sealed: dict[UUID, str] = field(default_factory=dict)
    """Streams with personal data, by the position of the first event that was taken of them."""
    refused: str = ""
    placed: bool = field(init=False)
    published: int = 0
    _taken: int = 0
    recent: dict[int, bytes] = field(default_factory=dict)
    """Hashes of what was taken last: records of the topic may repeat."""
    _last: ReceiptKey | None = None
    _bytes: int = 0

    def __post_init__(self) -> None:
        self.committed = self.row
        self.placed = self.anywhere or self.row.published_sequence == 0

    @property
    def stored(self) -> int:
        """How far the store went before anything was taken."""
        return self.row.sequence - self._taken

    def place(self, offset: int, envelope: Envelope) -> bool:
        """Whether this record counts: nothing is judged before the last known record was found again."""
        if envelope.shard != self.row.shard:
            raise TailRefused(f"the record at offset {offset} is an event of shard {envelope.shard}")
        if not self.placed:
            known = (self.committed.published_offset, self.committed.published_sequence)
            self.placed = (offset, int(envelope.sequence)) == known
        return self.placed

    def compare(self, sequence: int, value: bytes, link: bytes | None) -> None:
        """An event that we have must be this one, byte for byte; `link` is its hash, if known."""
        if link is not None and link != digest(value):
            raise TailRefused(
                f"topic and store hold different events at sequence {sequence}; nothing was overwritten"
            )
        self.published = max(self.published, sequence)

    def full(self) -> bool:
        """Enough for one transaction."""
        return len(self.pending) >= BATCH_EVENTS_MAX or self._bytes >= BATCH_BYTES_MAX

    def begins(self, envelope: Envelope) -> bool:
        """Whether it is the first event of its command: those of one command are committed together."""
        return row_of(envelope).key != self._last

    def append(self, offset: int, envelope: Envelope, value: bytes) -> None:
        """The next event."""
        sequence, row = int(envelope.sequence), self.row
        if sequence != row.sequence + 1:
            raise TailRefused(f"a gap in the topic: sequence {row.sequence} is followed by {sequence}")
        if envelope.previoushash != row.head.hex():
            raise TailRefused(
                f"the event at sequence {sequence} names another predecessor than the store has"
            )
        self._note_sealed(envelope)
        self.pending.append((envelope, value))
        self._bytes += len(value)
        self._last = row_of(envelope).key
        link = digest(value)
        self.recent[sequence] = link
        self.recent.pop(sequence - RECENT_MAX, None)
        self.published = sequence
        self._taken += 1
        self.row = replace(
            row,
            position=envelope.commandposition,
            position_command_id=envelope.commandid,
            sequence=sequence,
            head=link,
            last_time=max(row.last_time, micros(envelope.time)),
            published_sequence=sequence,
            published_offset=offset,
        )

    def commit(self) -> Commit:
        """One transaction, as the worker's that once decided these events; a command's receipt is its first event's."""
        events, receipts, attempts = [], [], []
        before: ReceiptKey | None = None
        for envelope, value in self.pending:
            receipt = row_of(envelope)
            stream, version, sequence = receipt.stream, envelope.streamversion, receipt.sequence
            key = envelope.subject.encode()
            events.append(
                StoredRow(envelope.place, version, envelope.type, value, receipt.shard, sequence, key)
            )
            if before == receipt.key:
                continue
            before = receipt.key
            receipts.append(receipt)
            if envelope.attempt is not UNSET:
                print_ = (stream, envelope.requesthash, envelope.attempt)
                told = (micros(envelope.time), envelope.commandid)
                attempts.append(AttemptRow(receipt.shard, sequence, *print_, *told))
        return Commit([self.committed], [self.row], events, receipts, attempts)

    def committed_all(self) -> None:
        self.committed = self.row
        self.pending.clear()
        self._bytes = 0

    def recovered(self) -> Recovered:
        """After the last record."""
        unpublished = self.row.sequence - self.published if self.placed else 0
        return Recovered(self.row.shard, self._taken, self.row.sequence, unpublished, self.refused)

    def refuse(self, reason: str) -> None:
        """Go no further; what is pending is sound and will be committed."""
        self.refused = reason

    def _note_sealed(self, envelope: Envelope) -> None:
        try:
            fact = decode_fact(envelope)
        except Malformed as error:
            raise TailRefused(
                f"the event at sequence {int(envelope.sequence)} cannot be read: {error}"
            ) from error
        if fact.sealed is not UNSET:
            self.sealed.setdefault(envelope.owner, envelope.id)
