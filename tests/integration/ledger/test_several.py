"""Two of everything: two api processes and two ledger workers, asked through the official SDK."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import NamedTuple
from uuid import uuid4

import dodopayments
import pytest
from dodopayments import AsyncDodoPayments

from services.api.keys import create_key, revoke_key
from tests.integration.ledger.test_sharing import shares, until
from tests.running import Process, System

BUSINESS = "biz_several"
REVOKED_SECONDS_MAX = 5.0


class Several(NamedTuple):
    """`clients` is the same SDK client once for each api."""

    system: System
    workers: Sequence[Process]
    apis: Sequence[Process]
    clients: Sequence[AsyncDodoPayments]
    key_id: str


@pytest.fixture
async def several(system: System) -> AsyncIterator[Several]:
    workers = [system.service("ledger", name) for name in ("worker-1", "worker-2")]
    apis = [system.service("api", name) for name in ("api-1", "api-2")]
    processes = [system.service("projections"), *workers, *apis]
    for process in processes:
        process.start()
    await until(lambda: all(process.is_ready() for process in processes), 60, "all are ready")
    await until(lambda: shares(*workers) == [2, 2], 5, "both workers have their share")
    views = system.settings.views_dsn.get_secret_value()
    made, secret = create_key(views, BUSINESS, "test", uuid4().hex)
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                AsyncDodoPayments(bearer_token=secret, base_url=f"http://127.0.0.1:{api.port}", max_retries=0)
            )
            for api in apis
        ]
        yield Several(system, workers, apis, clients, made.key_id)


async def credited(client: AsyncDodoPayments, customer: str, amount: int) -> int:
    """The balance after it."""
    wallet = await client.customers.wallets.ledger_entries.create(
        customer, amount=amount, currency="USD", entry_type="credit", idempotency_key=uuid4().hex
    )
    return wallet.balance


async def balance(client: AsyncDodoPayments, customer: str) -> int:
    wallets = await client.customers.wallets.list(customer)
    return next(wallet.balance for wallet in wallets.items if wallet.currency == "USD")


async def refused(client: AsyncDodoPayments, by: float) -> None:
    """Its key is no longer taken, at the latest by then."""
    with contextlib.suppress(dodopayments.AuthenticationError):
        while time.monotonic() < by:
            await client.customers.list()
            await asyncio.sleep(0.05)
        pytest.fail("a revoked key goes on working")


async def test_whoever_is_asked_answers_shows_what_the_other_wrote_and_refuses_a_revoked_key(
    several: Several,
) -> None:
    one, two = several.clients
    customers = [
        (await (one, two)[n % 2].customers.create(name=f"n{n}", email=f"n{n}@example.com")).customer_id
        for n in range(8)
    ]
    # at the same time through both, with amounts that tell whose answer it is
    found = await asyncio.gather(*(credited((one, two)[n % 2], c, 100 + n) for n, c in enumerate(customers)))
    assert found == [100 + n for n in range(8)]
    for n, customer in enumerate(customers):
        assert await balance((two, one)[n % 2], customer) == 100 + n
    assert revoke_key(several.system.settings.views_dsn.get_secret_value(), several.key_id).revoked_at
    by = time.monotonic() + REVOKED_SECONDS_MAX
    await asyncio.gather(refused(one, by), refused(two, by))


async def test_a_restarted_worker_is_no_error_to_clients_and_a_dead_api_none_to_the_others(
    several: Several,
) -> None:
    one, two = several.clients
    customers = [
        (await two.customers.create(name=f"n{n}", email=f"n{n}@example.com")).customer_id for n in range(12)
    ]
    sums = dict.fromkeys(customers, 0)
    stop = asyncio.Event()

    async def work(client: AsyncDodoPayments, mine: list[str]) -> None:
        while not stop.is_set():
            for customer in mine:
                sums[customer] += 1
                assert await credited(client, customer, 1) == sums[customer]

    working = [asyncio.create_task(work(c, customers[n::2])) for n, c in enumerate((one, two))]
    worker = several.workers[0]
    leaving = asyncio.create_task(asyncio.to_thread(worker.stop))
    await until(lambda: shares(several.workers[1]) == [4], 5, "the other worker has all shards")
    await leaving
    worker.start()
    await until(lambda: shares(*several.workers) == [2, 2], 30, "both have their share again")
    stop.set()
    await asyncio.gather(*working)
    several.apis[0].kill()
    for customer in customers:
        assert await balance(two, customer) == sums[customer]
    assert sum(sums.values()) > 50
