"""Fixtures of the api's unit tests."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.unit.api.fakes import Api, make_api


@pytest.fixture
def api() -> Api:
    return make_api()


@pytest.fixture
async def client(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client() as made:
        yield made


@pytest.fixture
async def customer(client: httpx.AsyncClient) -> str:
    """Id of a registered customer."""
    answer = await client.post("/customers", json={"name": "Ana", "email": "ana@example.com"})
    identifier: str = answer.json()["customer_id"]
    return identifier
