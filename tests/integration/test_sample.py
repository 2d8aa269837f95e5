"""The sample on a whole system: killed half way, run again, run once more; everything is booked exactly once."""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from events.facts import Cause, CustomerBlocked, Movement, WalletDebitRefused
from services.api.keys import create_key
from services.sample.plan import stories
from services.standalone.machine import environment
from tests.asking import read_topic
from tests.auditing import Told, balances_of, check_chain, check_store, events_of
from tests.running import Process, System, eventually, running

pytestmark = pytest.mark.timeout(240)


class Fed:
    """A system that the sample fed, and how to run a command on it."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.ledger = system.started("ledger")
        self.projections = system.started("projections")
        self.api = system.started("api")
        _, key = create_key(
            system.settings.views_dsn.get_secret_value(), "bus_tests", "test", "sample", ["read", "write"]
        )
        self.env = environment(system.settings) | {
            "WALLET_LEDGER_BASE_URL": f"http://127.0.0.1:{self.api.port}",
            "WALLET_LEDGER_API_KEY": key,
            "PYTHONPATH": os.getcwd(),
        }

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """`wallet-ledger …` as a process."""
        return subprocess.Popen(
            [sys.executable, "-m", "services.cli", *arguments],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> str:
        """The same, to its end; what it printed."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        return out

    def topic(self) -> dict[int, list[Told]]:
        """All events, once the relay has published what is stored."""
        settings = self.system.settings

        def published() -> dict[int, list[Told]] | None:
            found = events_of(asyncio.run(read_topic(settings.kafka_bootstrap, settings.shards)))
            with self.system.store() as store:
                row = store.execute("SELECT count(*) FROM stored_events").fetchone()
            return found if row == (sum(map(len, found.values())),) else None

        return eventually(published, what="the relay publishes everything")


@pytest.fixture(scope="module")
def fed() -> Iterator[Fed]:
    with running() as system:
        yield Fed(system)


@pytest.fixture(scope="module")
def killed_at(fed: Fed) -> int:
    """A first run, killed while entries are on their way; how many events it left."""
    process = fed.start("sample")
    eventually(lambda: fed.ledger.metric("wallet_ledger_commands_total") >= 4_200, what="half of the sample")
    process.kill()
    process.communicate(timeout=10)
    return sum(map(len, fed.topic().values()))


@pytest.fixture(scope="module")
def report(fed: Fed, killed_at: int) -> dict[str, Any]:
    """A second run, to its end."""
    before = {process.name: moved(process) for process in (fed.ledger, fed.projections, fed.api)}
    made: dict[str, Any] = json.loads(fed.run("sample", "--json"))
    for process in (fed.ledger, fed.projections, fed.api):
        assert moved(process) > before[process.name], f"{process.name} measures nothing"
    return made


def moved(process: Process) -> float:
    """One figure of each process that must grow while work is done."""
    names = {"ledger": "wallet_ledger_commands_total", "projections": "wallet_ledger_projection_events_total"}
    return process.metric(names.get(process.name, "wallet_ledger_api_request_seconds_count"))


def test_what_was_killed_is_completed(report: dict[str, Any], killed_at: int) -> None:
    planned = [move for story in stories() for move in story.upstream + story.merchant]
    assert 0 < killed_at < report["customers"] + len(planned), "killed half way"
    assert report["customers"] == len(stories()) >= 300
    assert report["entries"] + report["refusals"] == len(planned)
    assert report["entries"] >= 5_000
    assert report["refusals"] >= 200
    assert report["replayed"] > 0


def test_every_command_left_exactly_one_event(report: dict[str, Any], fed: Fed) -> None:
    events = fed.topic()
    told = [one for shard in events.values() for one in shard]
    assert len(told) == sum(report[what] for what in ("customers", "entries", "refusals", "blocked"))
    assert sum(isinstance(one.fact, CustomerBlocked) for one in told) == report["blocked"] == 8
    assert len({one.envelope.keyhash for one in told}) == len(told)
    assert sum(isinstance(one.fact, WalletDebitRefused) for one in told) == report["refusals"]
    with fed.system.store() as store:
        check_chain(events, store)
        check_store(events, store)


def test_the_totals_are_those_of_the_facts(report: dict[str, Any], fed: Fed) -> None:
    totals = Counter[str]()
    for (_, currency), balance in balances_of(fed.topic()).items():
        totals[currency] += balance
    assert report["balances"] == dict(totals)


def test_the_facts_say_who_caused_them(report: dict[str, Any], fed: Fed) -> None:
    causes, origins = Counter[Cause](), Counter[str]()
    for shard in fed.topic().values():
        for one in shard:
            if isinstance(one.fact, Movement):
                causes[one.fact.cause] += 1
                origins[one.envelope.origin] += 1
    assert causes >= Counter(
        {Cause.TOP_UP: 600, Cause.PROMOTION: 300, Cause.PURCHASE: 300, Cause.REFUND: 300}
    )
    assert causes[Cause.ADJUSTMENT] == origins["api"], "through HTTP a merchant only adjusts"
    assert set(origins) == {"api", "system"}


def test_the_shown_entries_are_the_last_of_that_customer(report: dict[str, Any], fed: Fed) -> None:
    customer = report["customer"]["customer_id"]
    told = [one for shard in fed.topic().values() for one in shard if one.envelope.subject == customer]
    entries = [one.fact.entry_id for one in told if isinstance(one.fact, Movement)]
    shown = [entry["id"] for entry in report["last_entries"]]
    assert shown == entries[::-1][: len(shown)]
    assert len(shown) >= 10


def test_a_further_run_books_nothing(report: dict[str, Any], fed: Fed) -> None:
    before = fed.topic()
    out = fed.run("sample")
    assert "nothing was booked twice" in out
    assert fed.topic() == before


def test_tail_reads_all_of_it(report: dict[str, Any], fed: Fed) -> None:
    events = fed.topic()
    values = [one.value.decode() for shard in events.values() for one in shard]
    assert sorted(fed.run("events", "tail", "--from", "beginning", "--json").splitlines()) == sorted(values)
    last = fed.run("events", "tail", "--limit", "3").splitlines()
    order = sorted(
        (one.envelope.time, one.envelope.shard, int(one.envelope.sequence))
        for shard in events.values()
        for one in shard
    )
    assert [line.split()[2] for line in last] == [f"{shard}:{sequence}" for _, shard, sequence in order[-3:]]
    customer = report["customer"]["customer_id"]
    own = fed.run(
        "events", "tail", "--customer", customer, "--from", "beginning", "--limit", "5"
    ).splitlines()
    assert len(own) == 5
    assert all(customer in line for line in own)
    assert "customer.registered" in own[0]


def test_tail_follows_what_comes(report: dict[str, Any], fed: Fed) -> None:
    process = fed.start("events", "tail", "--follow", "--limit", "1")
    assert process.stdout is not None
    process.stdout.readline()
    made = httpx.post(
        f"{fed.env['WALLET_LEDGER_BASE_URL']}/customers",
        headers={"Authorization": f"Bearer {fed.env['WALLET_LEDGER_API_KEY']}"},
        json={"name": "Trần", "email": "follow@example.com"},
    )
    assert made.status_code == 200
    line = process.stdout.readline()
    assert made.json()["customer_id"] in line
    assert "customer.registered" in line
    process.kill()
    process.communicate(timeout=10)
