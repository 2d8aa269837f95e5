"""What a team writes first: one transaction per request on the wallet's row, no events.

HTTP server, routes, parsing, keys and answers are the api's own code; only the write differs. So the
comparison is between two ways to keep a ledger, not between two web stacks. Idempotency keys are a
unique index over the entries; refusals leave nothing behind.
"""

from datetime import datetime
from typing import Any

import psycopg
import uvicorn
import uvloop
from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation
from psycopg_pool import AsyncConnectionPool

from events.commands import CreditWallet, CustomerAsk, DebitWallet
from events.ids import Tenant, entry_id
from events.replies import Outcome, Reply
from events.requests import RequestAsk
from services import logs
from services.api import errors
from services.api.app import create_app
from services.api.asking import Asking, Written
from services.api.auth import Authenticator, Caller
from services.api.call import Call
from services.api.limits import Limits
from services.api.parts import Parts
from services.api.protocol import LimitedProtocol
from services.api.queries.blocklist import PostgresBlocklist
from services.api.queries.exports import PostgresExports
from services.api.queries.foreign import PostgresForeign
from services.api.queries.keyed import PostgresQueries
from services.api.queries.lookups import PostgresLookups
from services.api.rates import UsdRates
from services.api.visibility import PostgresVisibility
from services.api.webhooks.door import Door
from services.api.webhooks.publisher import KafkaPublisher
from services.api.webhooks.tables import PostgresDeliveries, PostgresEndpoints
from services.settings import Settings

CONNECTIONS = 16
SCHEMA = """
    CREATE TABLE wallets (
        business_id text NOT NULL,
        mode text NOT NULL,
        customer_id text NOT NULL,
        currency text NOT NULL,
        balance_minor bigint NOT NULL CHECK (balance_minor >= 0),
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (business_id, mode, customer_id, currency)
    );
    CREATE TABLE entries (
        entry_id text PRIMARY KEY,
        business_id text NOT NULL,
        mode text NOT NULL,
        customer_id text NOT NULL,
        currency text NOT NULL,
        is_credit boolean NOT NULL,
        amount_minor bigint NOT NULL CHECK (amount_minor > 0),
        balance_before_minor bigint NOT NULL,
        balance_after_minor bigint NOT NULL CHECK (balance_after_minor >= 0),
        idempotency_key text NOT NULL,
        reason text,
        created_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (business_id, mode, idempotency_key)
    );
    CREATE INDEX entries_by_customer ON entries (business_id, mode, customer_id, created_at DESC);
"""
_LOCK = """
    SELECT balance_minor, created_at FROM wallets
    WHERE business_id = %s AND mode = %s AND customer_id = %s AND currency = %s FOR UPDATE"""
_MOVE = """
    UPDATE wallets SET balance_minor = %s, updated_at = now()
    WHERE business_id = %s AND mode = %s AND customer_id = %s AND currency = %s"""
_ENTER = """
    INSERT INTO entries (entry_id, business_id, mode, customer_id, currency, is_credit, amount_minor,
        balance_before_minor, balance_after_minor, idempotency_key, reason)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING created_at"""
_REPLAY = """
    SELECT e.balance_after_minor, e.created_at, w.created_at FROM entries e
    JOIN wallets w USING (business_id, mode, customer_id, currency)
    WHERE e.business_id = %s AND e.mode = %s AND e.idempotency_key = %s AND e.customer_id = %s"""

Connection = AsyncConnection[tuple[Any, ...]]


class Transactions(Asking):
    """In the place of the way to the ledger."""

    def __init__(self, pool: AsyncConnectionPool[Connection]) -> None:
        self._pool = pool

    async def write(
        self,
        call: Call,
        caller: Caller,
        customer_id: str | None,
        ask: CustomerAsk | RequestAsk,
        key: str | None,
    ) -> Written:
        assert isinstance(ask, CreditWallet | DebitWallet)
        assert customer_id is not None
        assert key is not None, "the benchmark sends keys"
        try:
            async with self._pool.connection() as connection:  # commits, or rolls back
                reply = await _move(connection, caller.tenant, customer_id, ask, key)
        except UniqueViolation:
            async with self._pool.connection() as connection:
                reply = await _replay(connection, caller.tenant, customer_id, key)
        return Written(customer_id, reply, True, {})


async def _move(
    connection: Connection, tenant: Tenant, customer: str, ask: CreditWallet | DebitWallet, key: str
) -> Reply:
    wallet = (tenant.business_id, tenant.mode, customer, ask.currency)
    found = await (await connection.execute(_LOCK, wallet, binary=True)).fetchone()
    if found is None:
        raise errors.not_found()
    before, opened = found
    is_credit = isinstance(ask, CreditWallet)
    after = before + ask.amount if is_credit else before - ask.amount
    if after < 0:
        raise errors.refused("INSUFFICIENT_WALLET_FUNDS", "")
    await connection.execute(_MOVE, (after, *wallet))
    name = entry_id(f"{tenant}|{key}".encode())
    entered = (name, *wallet, is_credit, ask.amount, before, after, key, None)
    row = await (await connection.execute(_ENTER, entered, binary=True)).fetchone()
    assert row is not None
    return _reply(after, row[0], opened)


async def _replay(connection: Connection, tenant: Tenant, customer: str, key: str) -> Reply:
    values = (tenant.business_id, tenant.mode, key, customer)
    found = await (await connection.execute(_REPLAY, values)).fetchone()
    if found is None:
        raise errors.key_reused()
    return _reply(*found)


def _reply(balance: int, moved: datetime, opened: datetime) -> Reply:
    return Reply(
        correlation="",
        outcome=Outcome.APPLIED,
        time=moved.isoformat(),
        registered=opened.isoformat(),
        balance_after=balance,
    )


class Ready:
    """Implements `parts.Readiness`."""

    async def problems(self) -> dict[str, str]:
        return {}


def prepare(dsn: str, tenant: Tenant, customers: list[str], balance: int) -> None:
    """Tables, and a wallet for each customer."""
    with psycopg.connect(dsn) as connection:
        connection.execute(SCHEMA)
        connection.execute(
            "INSERT INTO wallets (business_id, mode, customer_id, currency, balance_minor) "
            "SELECT %s, %s, unnest(%s::text[]), 'USD', %s",
            (tenant.business_id, tenant.mode, customers, balance),
        )
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


async def _serve(settings: Settings) -> None:
    dsn = settings.views_dsn.get_secret_value()
    queries = PostgresQueries(dsn, settings.shards)
    pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
        settings.store_dsn.get_secret_value(), min_size=CONNECTIONS, max_size=CONNECTIONS, open=False
    )
    await queries.open()
    await pool.open(wait=True)
    visibility = PostgresVisibility("", settings.shards, queries.checkpoints)
    auth, rates = Authenticator(queries.key, Limits()), UsdRates(settings)
    blocklist, foreign = (
        PostgresBlocklist(queries, queries.searching),
        PostgresForeign(queries, queries.searching),
    )
    lookups, exports = PostgresLookups(queries.searching), PostgresExports(dsn)  # nobody asks for them
    door = Door(  # nobody delivers
        PostgresEndpoints(queries.run, None).opening,
        PostgresDeliveries(queries.run),
        KafkaPublisher(settings),
        Limits(),
    )
    asked = (queries, blocklist, lookups, exports, foreign)
    parts = Parts(settings, auth, Transactions(pool), *asked, visibility, rates, Ready(), door)
    config = uvicorn.Config(
        create_app(parts),
        host=settings.http_host,
        port=settings.http_port,
        http=LimitedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
    )
    await uvicorn.Server(config).serve()
    await pool.close()
    await queries.close()


def main() -> None:
    """`store_dsn` is the baseline's own database here; keys are looked up where the api has them."""
    settings = Settings()
    logs.configure(settings, "baseline")
    uvloop.run(_serve(settings))


if __name__ == "__main__":
    main()
