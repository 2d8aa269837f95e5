"""More debits than the wallets can pay for, from many clients at once, some of them twice under one key: exact counts."""

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp

from services.api.keys import create_key
from tests.running import System

CLIENTS = 64
WALLETS = 32
TWICE_OFTEN = 0.1
BUSINESS = "biz_races"
SECONDS_MAX = 30.0


class Debit(NamedTuple):
    """One unit out of a wallet; `twice`: by two requests at the same time."""

    key: str
    customer: str
    twice: bool


@dataclass
class Raced:
    """What came of it. `broken`: what must not have happened, in words."""

    debits: int
    requests: int = 0
    seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    applied: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """For a person."""
        counts = ", ".join(f"{count:,} {status}" for status, count in sorted(self.statuses.items()))
        return f"{self.debits:,} debits, {self.requests:,} requests, {self.requests / self.seconds:,.0f}/s: {counts}"


async def race(system: System, url: str, seed: int, debits: int) -> Raced:
    """Each wallet can pay for half of what is asked of it."""
    each = max(2, debits // WALLETS // 2 * 2)
    raced = Raced(each * WALLETS)
    dsn = system.settings.views_dsn.get_secret_value()
    _, secret = create_key(dsn, f"{BUSINESS}_{seed}", "test", "races")
    headers = {"authorization": f"Bearer {secret}", "prefer": "respond-async"}
    options = {"connector": aiohttp.TCPConnector(limit=2 * CLIENTS), "trust_env": False}
    timeout = aiohttp.ClientTimeout(total=SECONDS_MAX)
    async with aiohttp.ClientSession(url, headers=headers, timeout=timeout, **options) as session:  # type: ignore[arg-type]
        customers = await asyncio.gather(*(_opened(session, number, each // 2) for number in range(WALLETS)))
        plan = iter(_plan(seed, customers, each))
        began = time.monotonic()
        await asyncio.gather(*(_client(session, plan, raced) for _ in range(CLIENTS)))
        raced.seconds = time.monotonic() - began
        for customer in customers:
            await _check(session, customer, each // 2, raced)
    return raced


def _plan(seed: int, customers: list[str], each: int) -> list[Debit]:
    draw = random.Random(seed)
    plan = [
        Debit(f"{customer}-{number}", customer, draw.random() < TWICE_OFTEN)
        for customer in customers
        for number in range(each)
    ]
    draw.shuffle(plan)
    return plan


async def _opened(session: aiohttp.ClientSession, number: int, amount: int) -> str:
    body = {"name": f"Racer {number}", "email": f"r{number}@example.com"}
    async with session.post(
        "/customers", json=body, headers={"idempotency-key": f"racer {number}"}
    ) as answer:
        assert answer.status == 200, await answer.text()
        customer: str = (await answer.json())["customer_id"]
    status, _ = await _move(session, customer, "credit", amount, f"{customer}-open")
    assert status == "200"
    return customer


async def _client(session: aiohttp.ClientSession, plan: Iterator[Debit], raced: Raced) -> None:
    for debit in plan:
        times = 2 if debit.twice else 1
        asked = (_move(session, debit.customer, "debit", 1, debit.key) for _ in range(times))
        answers = await asyncio.gather(*asked)
        raced.requests += times
        raced.statuses.update(status for status, _ in answers)
        if len(set(answers)) > 1:
            raced.broken.append(f"one key, two answers: {answers}")
        if answers[0][0] == "200":
            raced.applied[debit.customer] += 1


async def _move(
    session: aiohttp.ClientSession, customer: str, entry_type: str, amount: int, key: str
) -> tuple[str, str]:
    """Status, with the code where there is one, and position."""
    body = {"amount": amount, "currency": "USD", "entry_type": entry_type, "idempotency_key": key}
    async with session.post(f"/customers/{customer}/wallets/ledger-entries", json=body) as answer:
        said = await answer.json()
        status = f"{answer.status} {said.get('code', '')}".strip()
        return status, answer.headers.get("ledger-position", "")


async def _check(session: aiohttp.ClientSession, customer: str, paid: int, raced: Raced) -> None:
    """Every unit was spent once, and no more."""
    if raced.applied[customer] != paid:
        raced.broken.append(f"{customer} paid {raced.applied[customer]} times and could pay {paid} times")
    others = raced.statuses.keys() - {"200", "400 INSUFFICIENT_WALLET_FUNDS"}
    if others and not any(line.startswith("answers") for line in raced.broken):
        raced.broken.append(f"answers {sorted(others)}")
    balances: defaultdict[str, int] = defaultdict(int)
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            async with session.get(f"/customers/{customer}/wallets") as answer:
                for wallet in (await answer.json())["items"]:
                    balances[wallet["currency"]] = wallet["balance"]
            if balances["USD"] == 0:
                return
            await asyncio.sleep(0.1)
