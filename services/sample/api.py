"""The public HTTP API as a patient client sees it: the same idempotency key until there is an answer."""

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import stamina

from services.console.mistakes import ExitCode, Mistake

CONNECTIONS = 32
PATIENCE_SECONDS = 30.0
REQUEST_SECONDS = 15.0
_TRY_AGAIN = frozenset({408, 429, 502, 503, 504})
_POSITION = "Ledger-Position"

Json = dict[str, Any]


class Unanswered(Exception):
    """Worth asking again: nothing was applied, or the key says what was."""


class Answer:
    """Status, body, and the position that the answer stands at."""

    def __init__(self, status: int, body: Json, position: str) -> None:
        self.status = status
        self.body = body
        self.position = position


class Api:
    """One connection pool; use it as a context manager."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {api_key}", "Prefer": "respond-async"}
        self._gate = asyncio.Semaphore(CONNECTIONS)

    async def __aenter__(self) -> "Api":
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS),
            connector=aiohttp.TCPConnector(limit=CONNECTIONS),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def greet(self) -> None:
        """One request without patience: a wrong address or key shows at once. Raises Mistake."""
        try:
            answer = await self._once("GET", "/customers", {}, params={"page_size": 0})
        except Unanswered as error:
            raise Mistake(
                f"{self._base_url} {error}: is it the address of the API? Set WALLET_LEDGER_BASE_URL",
                ExitCode.UNREACHABLE,
            ) from error
        if answer.status != 200:
            raise unexpected("GET /customers", answer)

    async def post(self, path: str, body: Mapping[str, object], key: str) -> Answer:
        """Ask for something to be done, once."""
        return await self._ask("POST", path, {"Idempotency-Key": key}, json=body)

    async def get(self, path: str, position: str = "", **query: str | int) -> Answer:
        """Read; with a position, at least as new as it."""
        return await self._ask("GET", path, {_POSITION: position} if position else {}, params=query)

    async def _ask(self, method: str, path: str, headers: Mapping[str, str], **more: Any) -> Answer:
        try:
            async for attempt in stamina.retry_context(
                Unanswered, attempts=None, timeout=PATIENCE_SECONDS, wait_initial=0.1, wait_max=2.0
            ):
                with attempt:
                    return await self._once(method, path, headers, **more)
        except Unanswered as error:
            raise Mistake(f"{self._base_url} {error}", ExitCode.UNREACHABLE) from error
        raise AssertionError("retrying ends with an answer or an exception")

    async def _once(self, method: str, path: str, headers: Mapping[str, str], **more: Any) -> Answer:
        try:
            async with (
                self._gate,
                self._session.request(method, self._base_url + path, headers=headers, **more) as response,
            ):
                if response.status in _TRY_AGAIN:
                    raise Unanswered(f"answers {response.status}")
                body: Json = await response.json()
                answer = Answer(response.status, body, response.headers.get(_POSITION, ""))
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError) as error:
            raise Unanswered(f"does not answer ({type(error).__name__})") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise Mistake(f"{self._base_url} is not the API of a wallet ledger", ExitCode.REFUSED) from error
        _refuse_keys(self._base_url, answer)
        return answer


def _refuse_keys(base_url: str, answer: Answer) -> None:
    if answer.status in (401, 403):
        raise Mistake(
            f"{base_url} does not accept the API key: WALLET_LEDGER_API_KEY must be a live key with read and write",
            ExitCode.REFUSED,
        )


def unexpected(what: str, answer: Answer) -> Mistake:
    """The API said no where the sample had every right to a yes."""
    return Mistake(
        f"{what}: the API answered {answer.status} {answer.body.get('code', '')}", ExitCode.REFUSED
    )
