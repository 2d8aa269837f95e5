"""Requests at a steady rate, whatever becomes of them: each has an idempotency key, and remembers what it was told."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count
from typing import Any

import aiohttp

TICK_SECONDS = 0.01
ATTEMPT_SECONDS_MAX = 8.0
PAUSE_SECONDS = (0.1, 0.5)
IN_FLIGHT_MAX = 2_000
"""In a long outage those who wait ask again, and nobody joins them."""
IMPATIENT_OFTEN = 0.15
"""How often a client asks once and never again, so that some outcomes stay unknown."""

NOT_APPLIED = HTTPStatus.SERVICE_UNAVAILABLE
UNKNOWN = HTTPStatus.GATEWAY_TIMEOUT


@dataclass
class Request:
    """One movement of money, asked for once or more under one key."""

    key: str
    customer: str
    entry_type: str
    amount: int
    patient: bool
    seen: list[str] = field(default_factory=list)
    """What each attempt came to: a status, or the name of an error."""
    status: int = 0
    """The last answer; 0: none."""
    body: dict[str, Any] = field(default_factory=dict)
    position: str = ""
    unseen_read: str = ""
    """What a read behind this write said, where it should have shown it."""


class Load:
    """A slow answer does not slow the next request down."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        customers: list[str],
        seed: int,
        per_second: int,
        heard: Callable[[str], None] = lambda customer: None,
    ) -> None:
        self._base_url = base_url
        self._headers = {"authorization": f"Bearer {api_key}", "content-type": "application/json"}
        self._customers = customers
        self._random = random.Random(seed)
        self.per_second = per_second
        self._heard = heard
        self._numbers = count(1)
        self._seed = seed
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.seconds = 0.0
        self.requests: list[Request] = []
        self.attempts = 0

    @property
    def in_flight(self) -> int:
        """Requests without a last word."""
        return len(self._tasks)

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Ask until `stop`."""
        loop = asyncio.get_running_loop()
        began = last = loop.time()
        due = 0.0
        while not self._stopping:
            due += (loop.time() - last) * self.per_second
            last = loop.time()
            while due >= 1:
                due -= 1
                if self.in_flight < IN_FLIGHT_MAX:
                    self._ask(session)
            await asyncio.sleep(TICK_SECONDS)
            self.seconds = loop.time() - began

    async def stop(self, seconds: float) -> None:
        """No new requests; what is still unanswered then is given up."""
        self._stopping = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ask(self, session: aiohttp.ClientSession) -> None:
        draw = self._random
        request = Request(
            key=f"{self._seed}-{next(self._numbers)}",
            customer=self._customers[0] if draw.random() < 0.2 else draw.choice(self._customers),
            entry_type="credit" if draw.random() < 0.5 else "debit",
            amount=draw.randrange(1, 500),
            patient=draw.random() > IMPATIENT_OFTEN,
        )
        self.requests.append(request)
        task = asyncio.create_task(self._insist(session, request, draw.random()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _insist(self, session: aiohttp.ClientSession, request: Request, chance: float) -> None:
        """Ask until there is an outcome, as the SDK would, only for longer."""
        while True:
            await self._attempt(session, request, wait=chance < 0.5)
            if request.status not in (NOT_APPLIED, UNKNOWN) or not request.patient:
                break
            await asyncio.sleep(self._random.uniform(*PAUSE_SECONDS))
        if request.status == HTTPStatus.OK and chance < 0.1:
            await self._read_behind(session, request)

    async def _attempt(self, session: aiohttp.ClientSession, request: Request, *, wait: bool) -> None:
        self.attempts += 1
        body = {"amount": request.amount, "currency": "USD", "entry_type": request.entry_type}
        headers = (
            self._headers | {"idempotency-key": request.key} | ({} if wait else {"prefer": "respond-async"})
        )
        url = f"{self._base_url}/customers/{request.customer}/wallets/ledger-entries"
        request.status = UNKNOWN
        try:
            async with session.post(url, json=body, headers=headers) as answer:
                said = await answer.json()
                request.body = {name: said[name] for name in ("balance", "code") if name in said}
                request.status = answer.status
                request.position = answer.headers.get("ledger-position", "")
                request.seen.append(str(answer.status))
                if answer.status in (HTTPStatus.OK, HTTPStatus.BAD_REQUEST):
                    self._heard(request.customer)
        except (aiohttp.ClientConnectorError, ConnectionRefusedError) as error:
            request.status = NOT_APPLIED  # nobody was there to take it
            request.seen.append(type(error).__name__)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            request.seen.append(type(error).__name__)

    async def _read_behind(self, session: aiohttp.ClientSession, request: Request) -> None:
        """A read that carries the write's position shows it, or says that it cannot yet."""
        url = f"{self._base_url}/customers/{request.customer}/wallets/ledger-entries?page_size=100"
        try:
            async with session.get(
                url, headers=self._headers | {"ledger-position": request.position}
            ) as answer:
                if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
                    return
                as_of = answer.headers.get("ledger-position", "0:0")
                if answer.status != HTTPStatus.OK or _sequence(as_of) < _sequence(request.position):
                    request.unseen_read = f"{answer.status} as of {as_of}"
        except (aiohttp.ClientError, TimeoutError, OSError):
            return  # the api died: the next reader is another one


def _sequence(position: str) -> int:
    return int(position.partition(":")[2])
