"""Bring the three databases to the schema this version needs. Safe to run again, and by two at once."""

import time
from pathlib import Path
from uuid import uuid4

from alembic import command
from alembic.config import Config
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from events.codec import genesis
from services.mistakes import ExitCode, Mistake, check_shards
from services.settings import Settings

DATABASES = ("store", "views", "keys")
_MIGRATIONS = Path(__file__).parent / "migrations"
LOCK_SECONDS_MAX = 10
"""A change of a table that waits for a long read lets all later reads wait behind it."""
LOOK_SECONDS = 0.1
_LOCK = 0x77616C6C6574  # "wallet"


def sqlalchemy_url(dsn: str) -> str:
    """A libpq URL as SQLAlchemy wants it, with psycopg 3 named."""
    return make_url(dsn).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def migrate(settings: Settings) -> list[str]:
    """Run all outstanding migrations; returns one line per database.

    Raises:
        WrongShards: the store was made with another number of shards.
        Mistake: somebody uses a table for longer than may be waited for.
    """
    dsns = {
        "store": settings.store_dsn.get_secret_value(),
        "views": settings.views_dsn.get_secret_value(),
        "keys": settings.keys_dsn.get_secret_value(),
    }
    return [migrate_database(name, dsns[name], settings.shards) for name in DATABASES]


def migrate_database(name: str, dsn: str, shards: int) -> str:
    """One of `DATABASES`."""
    engine = create_engine(sqlalchemy_url(dsn), poolclass=NullPool)
    with engine.connect() as connection:
        _wait_for_others(connection)
        connection.execute(text(f"SET lock_timeout = '{LOCK_SECONDS_MAX}s'"))
        connection.commit()
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        config.set_main_option("path_separator", "newline")
        config.set_main_option("version_locations", str(_MIGRATIONS / name).replace("%", "%%"))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except DBAPIError as error:
            if isinstance(error.orig, LockNotAvailable):
                used = f"{name}: an export or a report uses a table; nothing of this step is done, run `migrate` again"
                raise Mistake(used, ExitCode.REFUSED) from error
            raise
        if name == "store":
            _make_shards(connection, shards)
        if name == "views":
            _make_checkpoints(connection, shards)
        connection.commit()
    return f"{name}: up to date"


def _wait_for_others(connection: Connection) -> None:
    """Asked again and again: a statement that waited would be waited for by whoever builds an index concurrently."""
    while not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK}).scalar():
        connection.commit()
        time.sleep(LOOK_SECONDS)
    connection.commit()


def _make_shards(connection: Connection, shards: int) -> None:
    found = connection.execute(text("SELECT shards FROM ledger")).scalar()
    if found is None:
        ledger_id = uuid4()
        connection.execute(
            text("INSERT INTO ledger (ledger_id, shards) VALUES (:ledger_id, :shards)"),
            {"ledger_id": ledger_id, "shards": shards},
        )
        rows = [{"shard": shard, "head": genesis(str(ledger_id), shard)} for shard in range(shards)]
        connection.execute(text("INSERT INTO shards (shard, head) VALUES (:shard, :head)"), rows)
    else:
        check_shards("this ledger", found, shards)


def _make_checkpoints(connection: Connection, shards: int) -> None:
    connection.execute(
        text("INSERT INTO checkpoints (shard) SELECT generate_series(0, :last) ON CONFLICT DO NOTHING"),
        {"last": shards - 1},
    )
