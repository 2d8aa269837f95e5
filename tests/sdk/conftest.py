"""The official SDK, unchanged but for its base URL, in front of the application."""

from collections.abc import AsyncIterator

import httpx
import pytest
from dodopayments import AsyncDodoPayments

from tests.unit.api.fakes import Api, make_api


@pytest.fixture
def api() -> Api:
    return make_api()


def sdk(api: Api, secret: str = "wl_test_all", retries: int = 2) -> AsyncDodoPayments:
    """A client that checks every answer against its own types."""
    return AsyncDodoPayments(
        bearer_token=secret,
        base_url="http://api.test",
        max_retries=retries,
        http_client=httpx.AsyncClient(transport=httpx.ASGITransport(app=api.app)),  # type: ignore[arg-type]
        _strict_response_validation=True,
    )


@pytest.fixture
async def client(api: Api) -> AsyncIterator[AsyncDodoPayments]:
    async with sdk(api) as made:
        yield made
