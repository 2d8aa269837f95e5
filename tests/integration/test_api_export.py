"""Exports over a real server and a real PostgreSQL: whole, bounded, and over when nobody reads them."""

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx
import psycopg
import pytest
import uvicorn

from events.ids import Tenant
from services.api import export
from services.api.lookups import EntryLookup, ExportsBusy, FoundEntry
from services.api.ports import ViewsTooSlow, ViewsUnavailable
from services.api.protocol import LimitedProtocol
from services.api.queries import exports as export_source
from services.api.queries.exports import PIECE_ROWS, PostgresExports
from services.migrate import migrate_database
from services.standalone.ports import free_port
from tests.integration.lookup_rows import OTHER, SHARDS, Rows
from tests.servers import fresh_database
from tests.unit.api.fakes import TENANT, make_api

CUSTOMERS, EACH = 4_000, 15
EXPORT = "/v1/ledger-entries/export?format=ndjson"


class Watched(PostgresExports):
    """Says how many rows left the database."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self.rows = 0
        self.largest = 0

    async def entries(self, tenant: Tenant, lookup: EntryLookup) -> AsyncGenerator[list[FoundEntry], None]:
        async with aclosing(super().entries(tenant, lookup)) as pieces:
            async for piece in pieces:
                self.rows += len(piece)
                self.largest = max(self.largest, len(piece))
                yield piece


@pytest.fixture(scope="module")
def dsn(postgres: str) -> str:
    made = fresh_database(postgres, f"api_export_{secrets.token_hex(4)}")
    migrate_database("views", made, SHARDS)
    rows = Rows(made)
    rows.many(CUSTOMERS, EACH, TENANT)
    rows.customer("cus_theirs", 1, tenant=OTHER)
    rows.entry("cus_theirs", 1, tenant=OTHER)
    rows.close()
    return made


@pytest.fixture
async def source(dsn: str) -> AsyncIterator[Watched]:
    made = Watched(dsn)
    await made.open()
    yield made
    await made.close()


@asynccontextmanager
async def serving(source: Watched, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    api, port = make_api(source, **settings), free_port()
    config = uvicorn.Config(api.app, port=port, http=LimitedProtocol, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(10):
            while not server.started:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        headers = {"authorization": "Bearer wl_test_all"}
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30
        ) as client:
            yield client
    finally:
        server.should_exit = server.force_exit = True
        await task


async def until_free(dsn: str) -> None:
    """No export holds a transaction any more."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND state <> 'idle'"
    )
    async with asyncio.timeout(10):
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            while (await (await connection.execute(query)).fetchone()) != (0,):  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_an_export_is_whole_and_in_pieces(source: Watched) -> None:
    async with serving(source) as client:
        answer = await client.get(EXPORT)
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert len(lines) == CUSTOMERS * EACH
    assert len({line["entry_id"] for line in lines}) == CUSTOMERS * EACH
    times = [line["created_at"] for line in lines]
    assert times == sorted(times, reverse=True)
    assert source.largest == PIECE_ROWS


async def test_a_reader_who_pauses_is_waited_for_and_one_who_goes_ends_it(source: Watched, dsn: str) -> None:
    async with serving(source) as client:
        async with client.stream("GET", EXPORT) as answer:
            async for _ in answer.aiter_bytes():
                break
            reached = -1
            async with asyncio.timeout(10):
                while reached != source.rows:
                    reached = source.rows
                    await asyncio.sleep(0.3)
            assert reached < CUSTOMERS * EACH / 2, "what nobody took stays in the database"
        await until_free(dsn)
    assert source.rows < CUSTOMERS * EACH


async def test_a_reader_who_takes_nothing_is_not_waited_for_for_ever(
    source: Watched, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "SEND_SECONDS_MAX", 0.3)
    async with serving(source) as client, client.stream("GET", EXPORT) as answer:
        await until_free(dsn)
        with pytest.raises(httpx.RemoteProtocolError):
            await answer.aread()


async def test_an_export_has_an_end_in_time(
    source: Watched, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "SECONDS_MAX", 0.3)
    async with serving(source) as client, client.stream("GET", EXPORT) as answer:
        await until_free(dsn)
        with pytest.raises(httpx.RemoteProtocolError):
            await answer.aread()


async def test_too_many_rows_close_the_connection(source: Watched, dsn: str) -> None:
    async with serving(source, export_rows_max=1_000) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(EXPORT)
    await until_free(dsn)


async def test_more_exports_than_may_are_told_so_and_other_reads_go_on(source: Watched, dsn: str) -> None:
    async with serving(source) as client:
        async with client.stream("GET", EXPORT) as first:
            assert first.status_code == 200
            answer = await client.get(EXPORT)
            assert (answer.status_code, answer.json()["code"]) == (503, "EXPORTS_BUSY")
            assert (await client.get("/customers")).status_code == 200
            others = {"authorization": "Bearer wl_test_other"}
            assert (await client.get(EXPORT, headers=others)).status_code == 200
        await until_free(dsn)
        assert (await client.get(EXPORT)).status_code == 200


async def test_an_export_whose_statement_takes_too_long_could_be_narrower(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To repeat it as it is would take as long."""
    quick = export_source.OPTIONS.replace("statement_timeout=30s", "statement_timeout=200ms")
    monkeypatch.setattr(export_source, "OPTIONS", quick)
    source = PostgresExports(dsn)
    await source.open()
    try:
        async with await psycopg.AsyncConnection.connect(dsn) as holding:
            await holding.execute("LOCK TABLE ledger_entries IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(ViewsTooSlow):
                await anext(source.entries(TENANT, EntryLookup()))
    finally:
        await source.close()


async def test_one_business_never_holds_all_exports_of_a_process(source: Watched) -> None:
    def begun(tenant: Tenant) -> AsyncGenerator[list[FoundEntry], None]:
        return source.entries(tenant, EntryLookup())

    assert export_source.CONNECTIONS == 2
    async with aclosing(begun(TENANT)) as mine, aclosing(begun(OTHER)) as theirs:
        await anext(mine)
        with pytest.raises(ExportsBusy):
            await anext(begun(TENANT))
        await anext(theirs)
        with pytest.raises(ExportsBusy):
            await anext(begun(Tenant("bus_third", "test")))
    async with aclosing(begun(TENANT)) as again:
        assert await anext(again)


async def test_where_nothing_can_connect_no_export_is_said_to_run() -> None:
    source = PostgresExports(f"postgresql://nobody@127.0.0.1:{free_port()}/none")
    await source.open()
    with pytest.raises(ViewsUnavailable):
        await anext(source.entries(TENANT, EntryLookup()))
    await source.close()


async def test_a_database_that_goes_away_cuts_the_export(source: Watched, dsn: str) -> None:
    async with serving(source) as client:
        async with client.stream("GET", EXPORT) as answer:
            assert answer.status_code == 200
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            with pytest.raises(httpx.RemoteProtocolError):
                await answer.aread()
        assert (await client.get(EXPORT)).status_code == 200, "the next one finds a connection that lives"
