"""Everything that can die is killed and frozen under load, again and again; then every answer must be true.

`WALLET_LEDGER_TEST_SEED` repeats a run: the same requests, the same plan of faults.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from http import HTTPStatus

import aiohttp
import pytest

from events.facts import CustomerRegistered, WalletCredited, WalletDebited, WalletDebitRefused
from services.api.keys import create_key
from tests.asking import read_topic
from tests.auditing import Told, check_chain, check_store, check_views, events_of, outcomes_of
from tests.chaos.faults import KILLS, Faults, plan
from tests.chaos.load import ATTEMPT_SECONDS_MAX, NOT_APPLIED, UNKNOWN, Load, Request
from tests.running import Process, System, eventually, running

SHARDS = 8
CUSTOMERS = 60
CONNECTIONS_MAX = 500
PER_SECOND = 330
PER_SECOND_MIN = 300
FAULTS_MIN = 20
DRAIN_SECONDS = 60.0
BUSINESS = "biz_chaos"
Events = dict[int, list[Told]]


@pytest.fixture
def system() -> Iterator[System]:
    with running(SHARDS, command_deadline_seconds=3.0) as started:
        yield started


@pytest.fixture
def processes(system: System) -> dict[str, list[Process]]:
    """Two ledger workers, of which one stands by."""
    found = {
        "ledger": [system.service("ledger", "ledger-1"), system.service("ledger", "ledger-2")],
        "projections": [system.service("projections")],
        "api": [system.service("api")],
    }
    for process in (one for group in found.values() for one in group):
        process.start()
    for process in (one for group in found.values() for one in group):
        process.wait_ready()
    return found


@pytest.mark.timeout(420)
async def test_every_answer_is_true_after_everything_died_again_and_again(
    system: System, processes: dict[str, list[Process]]
) -> None:
    seed = int(os.environ.get("WALLET_LEDGER_TEST_SEED") or random.SystemRandom().randrange(10**6))
    print(f"WALLET_LEDGER_TEST_SEED={seed}")
    base_url = f"http://127.0.0.1:{processes['api'][0].port}"
    _, api_key = create_key(system.settings.views_dsn.get_secret_value(), BUSINESS, "test", "chaos")
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=ATTEMPT_SECONDS_MAX, sock_read=ATTEMPT_SECONDS_MAX
    )
    connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector, trust_env=False) as session:
        customers = await registered(session, base_url, api_key, seed)
        load = Load(base_url, api_key, customers, seed, PER_SECOND)
        faults = Faults(system, processes, lambda: load.in_flight)
        await under_faults(load, faults, seed, session)
    report(load, faults)
    check_pressure(load, faults)
    events = await settled(system)
    check_answers(load.requests, events)
    check_memory(system, events)


async def registered(session: aiohttp.ClientSession, base_url: str, api_key: str, seed: int) -> list[str]:
    """Customers, some with money."""
    found = []
    for number in range(CUSTOMERS):
        headers = {"authorization": f"Bearer {api_key}", "idempotency-key": f"{seed}-customer-{number}"}
        body = {"name": f"Nguyễn {number}", "email": f"n{number}@example.com"}
        async with session.post(f"{base_url}/customers", json=body, headers=headers) as answer:
            assert answer.status == HTTPStatus.OK, await answer.text()
            found.append((await answer.json())["customer_id"])
    return found


async def under_faults(load: Load, faults: Faults, seed: int, session: aiohttp.ClientSession) -> None:
    """The load runs through the whole plan; afterwards those who still ask get time to hear."""
    background = [asyncio.create_task(load.run(session)), asyncio.create_task(faults.supervise())]
    try:
        await asyncio.sleep(2)
        await faults.carry_out(plan(seed))
        await load.stop(DRAIN_SECONDS)
        for task in background:
            assert not task.done() or task.exception() is None
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)


def report(load: Load, faults: Faults) -> None:
    """For a person who reads the log of a run."""
    for hurt in faults.hurts:
        print(f"{hurt.at:6.1f} s  {hurt.how:6} {hurt.target:11} {hurt.in_flight:5} in flight")
    print(f"{len(load.requests)} requests, {load.attempts} attempts, {load.attempts / load.seconds:.0f}/s")
    print("last words:", dict(Counter(request.status for request in load.requests)))
    print("attempts:", dict(Counter(seen for request in load.requests for seen in request.seen)))
    print("started again:", dict(faults.restarts))


def check_pressure(load: Load, faults: Faults) -> None:
    """It was a test at all."""
    assert load.attempts / load.seconds >= PER_SECOND_MIN
    assert sum(hurt.in_flight > 0 for hurt in faults.hurts) >= FAULTS_MIN
    assert {hurt.target for hurt in faults.hurts} == {target for target, _ in KILLS}
    statuses = Counter(request.status for request in load.requests)
    assert statuses[HTTPStatus.OK] > len(load.requests) / 3
    assert statuses[HTTPStatus.BAD_REQUEST] > 100
    assert set(statuses) <= {HTTPStatus.OK, HTTPStatus.BAD_REQUEST, NOT_APPLIED, UNKNOWN}, statuses
    assert not [r.seen for r in load.requests if r.patient and r.status in (NOT_APPLIED, UNKNOWN)]


async def settled(system: System) -> Events:
    """The topic, once it and the read models have all that the store has."""
    with system.store() as store, system.views() as views:
        heads = store.execute("SELECT shard, sequence FROM shards ORDER BY shard").fetchall()
        query = "SELECT shard, sequence FROM checkpoints ORDER BY shard"
        eventually(lambda: views.execute(query).fetchall() == heads, 30, what="read models are up")
    return events_of(await read_topic(system.kafka.bootstrap, SHARDS))


def check_answers(requests: list[Request], events: Events) -> None:
    """Each answer stands in the topic as it was given; what was refused for good is not there."""
    outcomes = outcomes_of(events)
    for request in requests:
        found = outcomes.pop(sha256(request.key.encode()).hexdigest(), [])
        match request.status:
            case HTTPStatus.OK | HTTPStatus.BAD_REQUEST:
                assert len(found) == 1, f"{request} is there {len(found)} times"
                check_answer(request, found[0])
            case _ if request.status == NOT_APPLIED and len(request.seen) == 1:
                assert not found, f"{request} was refused and is there"
            case _:
                assert len(found) <= 1
        assert not request.unseen_read, request
    rest = [one.fact for found in outcomes.values() for one in found]
    assert len(rest) == CUSTOMERS
    assert all(isinstance(fact, CustomerRegistered) for fact in rest)


def check_answer(request: Request, found: Told) -> None:
    fact, envelope = found.fact, found.envelope
    assert (envelope.subject, envelope.id) == (request.customer, request.position)
    if request.status == HTTPStatus.OK:
        assert isinstance(fact, WalletCredited if request.entry_type == "credit" else WalletDebited)
        assert (fact.amount, fact.balance_after) == (request.amount, request.body["balance"])
    else:
        assert request.body["code"] == "INSUFFICIENT_WALLET_FUNDS"
        assert isinstance(fact, WalletDebitRefused)
        assert fact.amount == request.amount > fact.balance


def check_memory(system: System, events: Events) -> None:
    """Chain, store, receipts, read models and the books, all from the topic."""
    with system.store() as store, system.views() as views:
        check_chain(events, store)
        check_store(events, store)
        check_views(events, views)
