"""Shadow tables: made like the live ones, filled beside them, swapped with them in one transaction.

The live catalogue, which the migrations made, is the one place where tables and indexes are defined: whatever was
added there since (indexes, grants, policies, triggers, views over them) the shadow gets too, under the same names.
"""

from collections.abc import Iterable
from typing import LiteralString

from psycopg import sql
from psycopg.errors import DependentObjectsStillExist

from services.projections.read_models.tables import READ_MODELS
from services.projections.rebuild import catalogue
from services.projections.rebuild.catalogue import LIVE, SHADOW, Session, View

OLD = "rebuild_old"
"""Exists within the swapping transaction only."""

NAMES = [table.name for table in READ_MODELS]
INSERTED_ONLY = {"ledger_entries"}
"""Tables in which nothing is looked up while they are filled: their keys are built after the load."""
EARLY = [kind for kind in catalogue.KINDS if kind not in ("index", "constraint")]
"""What shadow tables have from the start."""

LOCK_TIMEOUT = "300ms"
"""Less than the server's `deadlock_timeout`: nobody else's statement is ever ended for our sake."""


class Unfit(Exception):
    """Something about the live tables that shadow tables cannot have; nothing was changed."""


def exists(session: Session) -> bool:
    """Whether an earlier run left shadow tables."""
    return session.execute("SELECT to_regnamespace(%s) IS NOT NULL", [SHADOW]).fetchone() == (True,)


def create(session: Session) -> None:
    """All or nothing: empty tables without late indexes, and checkpoints at the beginning.

    Raises:
        Unfit: the live tables have something that these cannot have.
    """
    with session.transaction():
        session.execute(_named("CREATE SCHEMA {shadow}"))
        for name in NAMES:
            session.execute(
                _named(
                    "CREATE TABLE {new} (LIKE {old} INCLUDING ALL EXCLUDING INDEXES EXCLUDING STATISTICS)",
                    name,
                )
            )
        _run(session, catalogue.options(session, NAMES))
        _run(session, catalogue.constraints(session, [n for n in NAMES if n not in INSERTED_ONLY]))
        session.execute(_named("CREATE TABLE {new} (LIKE {old} INCLUDING ALL)", "checkpoints"))
        session.execute(_named("INSERT INTO {new} (shard) SELECT shard FROM {old}", "checkpoints"))
        _compare(session, EARLY)


def drop(session: Session) -> None:
    """Give an unfinished rebuild up."""
    with session.transaction():
        names = sql.SQL(", ").join(sql.Identifier(SHADOW, name) for name in [*NAMES, "checkpoints"])
        session.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(names))
        session.execute(_named("DROP SCHEMA IF EXISTS {shadow}"))


def fits(session: Session) -> bool:
    """Whether what an earlier run left still looks like the live tables."""
    if session.execute("SELECT to_regclass(%s)", [f"{SHADOW}.checkpoints"]).fetchone() == (None,):
        return False
    return not catalogue.differences(session, NAMES, EARLY)


def index(session: Session) -> None:
    """Build the keys and indexes that are still missing. Each is kept if the next fails."""
    _run(session, catalogue.constraints(session, NAMES))
    _run(session, catalogue.indexes(session, NAMES))


def sample(session: Session) -> None:
    """For the planner, once nothing is in the rows that must not be sampled."""
    for table in NAMES:
        session.execute(_named("ANALYZE {new}", table))


def applied(session: Session) -> int:
    """How many events the shadow holds."""
    ((count,),) = session.execute(_named("SELECT sum(sequence)::bigint FROM {new}", "checkpoints"))
    return int(count)


def behind(session: Session) -> dict[int, int]:
    """How many events the shadow lacks that the live tables have, by shard; empty: none."""
    rows = session.execute(
        _named(
            """
            SELECT live.shard, live.sequence - shadow.sequence FROM {old} AS live JOIN {new} AS shadow USING (shard)
            WHERE live.sequence > shadow.sequence
        """,
            "checkpoints",
        )
    )
    return dict(rows.fetchall())


def hold_live(session: Session) -> None:
    """Within a transaction: no projector moves on until its end. Readers go on."""
    session.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(LOCK_TIMEOUT))
    session.execute(_named("LOCK TABLE {old} IN EXCLUSIVE MODE", "checkpoints"))


def swap(session: Session) -> None:
    """Within the transaction that holds the live checkpoints: shadow tables become the live ones.

    Raises:
        Unfit: they differ, or something depends on the old tables that does not follow.
        psycopg.errors.LockNotAvailable: somebody is reading; roll back and try again.
    """
    assert not behind(session), "the shadow must have what the live tables have"
    _compare(session, catalogue.KINDS)
    views = catalogue.views(session, NAMES)
    tables = sql.SQL(", ").join(sql.Identifier(LIVE, name) for name in NAMES)
    session.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(tables))
    session.execute(_named("CREATE SCHEMA {aside}"))
    for name in NAMES:
        session.execute(_named("ALTER TABLE {old} SET SCHEMA {aside}", name))
        session.execute(_named("ALTER TABLE {new} SET SCHEMA {live}", name))
    _follow(session, views)
    _drop_old(session)
    _move_checkpoints(session)
    session.execute(_named("DROP TABLE {new}", "checkpoints"))
    session.execute(_named("DROP SCHEMA {shadow}"))


def _follow(session: Session, views: Iterable[View]) -> None:
    """Views keep their identity, owner and grants; only the tables that they read are others."""
    for view in views:
        session.execute(sql.SQL("CREATE OR REPLACE VIEW {} {} AS {}").format(*view.parts()))


def _drop_old(session: Session) -> None:
    tables = sql.SQL(", ").join(sql.Identifier(OLD, name) for name in NAMES)
    try:
        session.execute(sql.SQL("DROP TABLE {} RESTRICT").format(tables))
    except DependentObjectsStillExist as error:
        detail = (error.diag.message_detail or "").replace(f"{OLD}.", "")
        raise Unfit(f"what depends on the tables and is no view cannot follow: {detail}") from error
    session.execute(_named("DROP SCHEMA {aside}"))


def _move_checkpoints(session: Session) -> None:
    session.execute(
        _named(
            """
            UPDATE {old} AS live SET sequence = shadow.sequence, head = shadow.head, next_offset = shadow.next_offset,
                event_time = shadow.event_time, updated_at = now()
            FROM {new} AS shadow WHERE shadow.shard = live.shard
        """,
            "checkpoints",
        )
    )
    session.execute(
        "DELETE FROM chain_breaks USING checkpoints "
        "WHERE checkpoints.shard = chain_breaks.shard AND checkpoints.sequence >= chain_breaks.sequence"
    )


def _compare(session: Session, kinds: Iterable[str]) -> None:
    found = catalogue.differences(session, NAMES, kinds)
    if found:
        raise Unfit(f"shadow tables differ from the live ones: {'; '.join(sorted(found)[:5])}")


def _run(session: Session, statements: dict[str, LiteralString]) -> None:
    for statement in statements.values():
        session.execute(sql.SQL(statement))


def _named(statement: LiteralString, table: str = "") -> sql.Composed:
    names = {"live": LIVE, "shadow": SHADOW, "aside": OLD}
    return sql.SQL(statement).format(
        old=sql.Identifier(LIVE, table),
        new=sql.Identifier(SHADOW, table),
        **{name: sql.Identifier(schema) for name, schema in names.items()},
    )
