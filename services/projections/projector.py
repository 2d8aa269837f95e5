"""The live projector: what it applies it announces, and a shard that cannot go on is remembered over restarts.

Whoever drives it only has to bring records in order per shard. One thread.
"""

from collections.abc import Mapping, Sequence

import psycopg

from services.keyring import KeyRing
from services.projections.applying import Applied, Applier, ChainBroken
from services.projections.breaks import Breaks
from services.projections.chain import Checkpoint
from services.reading import Record
from services.sessions import CHANNEL

NOTIFY_BYTES_MAX = 7_900


class ReadAgain(Exception):
    """These shards lack what was dropped or forgotten: the next process reads it, from their checkpoints."""

    def __init__(self, shards: list[int]) -> None:
        self.shards = shards
        super().__init__(f"shards {shards}")


class Healed(ReadAgain):
    """A rebuild has gone past their breaks. What came meanwhile was dropped."""


class Lost(ReadAgain):
    """The database came back older than it was: it crashed, and commits are asynchronous."""


class Projector(Applier):
    """Applies to the read models that the API reads."""

    def __init__(self, dsn: str, keys: KeyRing) -> None:
        super().__init__(dsn, keys)
        self.breaks = Breaks()
        self._trusted: psycopg.Connection | None = None
        """The one on which no checkpoint is older than was seen."""

    def load(self) -> dict[int, Checkpoint]:
        """With the breaks met before."""
        found = super().load()
        self.breaks.load(self.connection())
        self._trusted = self.connection()
        return found

    def apply(self, records: Sequence[Record]) -> Applied:
        """See `Applier.apply`; a shard that met one break too often is halted, and that raises nothing more.

        Raises:
            Lost: what was applied before is not there any more.
        """
        self._check_kept()
        live = [record for record in records if record.shard not in self.breaks.halted]
        reading = self._settled(live)
        if reading.breaks and self.breaks.note(self.connection(), reading.breaks.values()):
            raise ChainBroken(reading.breaks.values())
        return Applied(len(reading.events), reading.times())

    def beat(self, instance: str) -> None:
        """Say in the database that this projector works.

        Raises:
            Healed: a shard that was halted can go on.
            Lost: as `apply`; where no event comes, nothing else would notice.
        """
        self._check_kept()
        if healed := self.breaks.healed(self.connection()):
            raise Healed(healed)
        self.connection().execute(
            "INSERT INTO projectors (id, seen) VALUES (%s, now()) ON CONFLICT (id) DO UPDATE SET seen = now()",
            [instance],
        )

    def close(self, instance: str) -> None:
        """Take the heartbeat back and end the connections."""
        if self._connection is not None and not self._connection.closed:
            self._connection.execute("DELETE FROM projectors WHERE id = %s", [instance])
        self.reset()

    def _check_kept(self) -> None:
        """Once on each connection: a crash of the server breaks them all, and takes its last commits."""
        connection = self.connection()
        if connection is self._trusted:
            return
        now = self._checkpoints()
        if lost := [shard for shard, seen in self._seen.items() if now[shard].sequence < seen.sequence]:
            raise Lost(lost)
        self._trusted = connection

    def _announce(self, connection: psycopg.Connection, moved: Mapping[int, Checkpoint]) -> None:
        for payload in payloads(moved):
            connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])
        self.breaks.passed(connection, moved)

    def _committed(self, moved: Mapping[int, Checkpoint]) -> None:
        self.breaks.forget(moved)


def payloads(moved: Mapping[int, Checkpoint]) -> list[str]:
    """`<shard>:<sequence> …` for NOTIFY, in as few pieces as its 8,000 bytes allow."""
    pieces = [""]
    for shard, checkpoint in sorted(moved.items()):
        word = f"{shard}:{checkpoint.sequence}"
        if len(pieces[-1]) + len(word) >= NOTIFY_BYTES_MAX:
            pieces.append("")
        pieces[-1] = f"{pieces[-1]} {word}".lstrip()
    return pieces
