"""API keys are looked up once, remembered for seconds, and never for longer."""

import asyncio
from typing import Any
from unittest.mock import AsyncMock

import pytest

from services.api import remembered
from services.api.auth import Authenticator, Caller
from services.api.call import Call
from services.api.errors import ApiError
from services.api.keys import Scope
from services.api.limits import Limits
from services.api.ports import ViewsUnavailable
from tests.unit.api.fakes import TENANT

CALLER = Caller("key_1", TENANT, frozenset({"read"}), float("inf"))


class Table:
    """The database: counts, answers what a test says, and can be slow or away."""

    def __init__(self) -> None:
        self.asked = 0
        self.caller: Caller | None = CALLER
        self.away = False
        self.open = asyncio.Event()
        self.open.set()

    async def lookup(self, _: bytes) -> Caller | None:
        self.asked += 1
        await self.open.wait()
        if self.away:
            raise ViewsUnavailable
        return self.caller


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock, to be set by the test."""
    moment = [1000.0]
    monkeypatch.setattr(remembered, "monotonic", lambda: moment[0])
    return moment


async def ask(authenticator: Authenticator, secret: bytes = b"Bearer s") -> Caller:
    scope: Any = {"headers": [(b"authorization", secret)], "query_string": b"", "client": None}
    return await authenticator.caller(Call(scope, AsyncMock(), 0), Scope.READ)


async def test_many_requests_read_a_key_once(table: Table) -> None:
    authenticator = Authenticator(table.lookup, Limits())
    table.open.clear()
    waiting = [asyncio.create_task(ask(authenticator)) for _ in range(50)]
    await asyncio.sleep(0)
    table.open.set()
    assert await asyncio.gather(*waiting) == [CALLER] * 50
    assert table.asked == 1


async def test_a_revoked_key_works_no_longer_than_five_seconds(table: Table, now: list[float]) -> None:
    authenticator = Authenticator(table.lookup, Limits())
    await ask(authenticator)
    table.caller = None
    table.open.clear()  # the refresh in the background hangs
    now[0] += remembered.STALE_SECONDS
    assert await ask(authenticator) == CALLER
    now[0] = 1000.0 + remembered.EXPIRED_SECONDS
    assert remembered.EXPIRED_SECONDS < 5
    refused = asyncio.create_task(ask(authenticator))
    await asyncio.sleep(0)
    assert not refused.done()
    table.open.set()
    with pytest.raises(ApiError, match="UNAUTHORIZED"):
        await refused


async def test_a_key_that_is_revoked_while_the_body_comes_is_refused(table: Table, now: list[float]) -> None:
    """Bodies have half a minute; so long a stolen key could go on."""

    async def body() -> dict[str, object]:
        table.caller = None
        now[0] += remembered.EXPIRED_SECONDS
        return {"type": "http.request", "body": b"{}"}

    scope: Any = {"headers": [(b"authorization", b"Bearer s")], "query_string": b"", "client": None}
    call = Call(scope, body, 99)  # type: ignore[arg-type]
    assert await Authenticator(table.lookup, Limits()).caller(call, Scope.READ) == CALLER
    with pytest.raises(ApiError, match="UNAUTHORIZED"):
        await call.json_body()


async def test_a_key_is_as_old_as_the_question(table: Table, now: list[float]) -> None:
    """It may have been revoked while its answer was under way."""

    async def slow(digest: bytes) -> Caller | None:
        now[0] += remembered.EXPIRED_SECONDS
        return await table.lookup(digest)

    authenticator = Authenticator(slow, Limits())
    assert await ask(authenticator) == CALLER
    table.caller = None
    with pytest.raises(ApiError, match="UNAUTHORIZED"):
        await ask(authenticator)


async def test_a_key_in_use_is_read_again_in_the_background(table: Table, now: list[float]) -> None:
    authenticator = Authenticator(table.lookup, Limits())
    await ask(authenticator)
    table.caller = None
    now[0] += remembered.STALE_SECONDS
    assert await ask(authenticator) == CALLER
    await asyncio.sleep(0.01)
    with pytest.raises(ApiError, match="UNAUTHORIZED"):
        await ask(authenticator)


async def test_without_a_database_a_known_key_works_for_a_while(table: Table, now: list[float]) -> None:
    authenticator = Authenticator(table.lookup, Limits())
    await ask(authenticator)
    table.away = True
    now[0] += remembered.STALE_SECONDS
    assert await ask(authenticator) == CALLER
    now[0] += remembered.EXPIRED_SECONDS
    with pytest.raises(ApiError) as unavailable:
        await ask(authenticator)
    assert (unavailable.value.status, unavailable.value.code) == (503, "SERVICE_UNAVAILABLE")


async def test_unknown_keys_are_remembered_within_bounds(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "CACHED_MAX", 10)
    table.caller = None
    authenticator = Authenticator(table.lookup, Limits())
    for number in range(30):
        with pytest.raises(ApiError):
            await ask(authenticator, f"Bearer {number}".encode())
    with pytest.raises(ApiError):
        await ask(authenticator, b"Bearer 29")
    assert table.asked == 30
    assert len(authenticator._callers._entries) == 10
