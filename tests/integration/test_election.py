"""What others in the database see of a worker: its locks, and the rows of those that are gone."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg
import pytest
from psycopg.rows import TupleRow

from services.ledger.store import statements
from services.ledger.store.election import LOCK_CLASS, Election
from services.migrate import migrate_database

SHARDS = 3
Session = psycopg.Connection[TupleRow]


@pytest.fixture
def dsn(database: Callable[[str], str]) -> str:
    made = database("election")
    migrate_database("store", made, SHARDS)
    return made


@pytest.fixture
def session(dsn: str) -> Iterator[Session]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def other(dsn: str) -> Iterator[Session]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


class Overtaken:
    """A session whose shard 1 moves to another server when it holds the lock and has no epoch yet."""

    def __init__(self, session: Session, other: Session) -> None:
        self._session = session
        self._other = other

    def execute(self, statement: Any, parameters: Sequence[Any]) -> psycopg.Cursor[TupleRow]:
        if statement == statements.NEXT_EPOCH:
            self._other.execute("UPDATE shards SET state = 'moved' WHERE shard = 1")
        return self._session.execute(statement, parameters)


def test_the_lock_of_a_shard_that_moved_meanwhile_is_given_back(session: Session, other: Session) -> None:
    election = Election(Overtaken(session, other), "a")  # type: ignore[arg-type]
    assert {row.shard for row in election.claim(range(SHARDS), SHARDS)} == {0, 2}
    held = other.execute(
        "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND pid = %s",
        [LOCK_CLASS, session.info.backend_pid],
    )
    assert {shard for (shard,) in held} == {0, 2}


def test_a_heartbeat_forgets_the_workers_that_are_long_gone(session: Session, other: Session) -> None:
    for worker in ("gone", "there"):
        Election(other, worker).heartbeat([], (), 0)
    other.execute("UPDATE workers SET seen = seen - interval '2 minutes' WHERE id = 'gone'")
    Election(session, "a").heartbeat([], (), 0)
    assert other.execute("SELECT id FROM workers ORDER BY id").fetchall() == [("a",), ("there",)]
