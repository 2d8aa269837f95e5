"""A played month on a whole system: killed half way, told late, twice and out of order; against its own books.

`wallet-ledger upstream` plays the same life for two businesses, for one of them cleanly. Both must come to what the books
of the played business say, which know nothing of the ledger's rules.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec.structs import replace

from events.facts import Movement, WalletCredited, WalletShortfallRecorded, WalletShortfallReleased
from events.topics import PAYMENTS, PAYMENTS_PARTITIONS
from services.standalone.environment import environment
from services.upstream import journal
from services.upstream.books import Purse
from tests.asking import read_topic
from tests.auditing import Told, check_chain, check_store, events_of
from tests.running import Process, System, eventually, running

pytestmark = pytest.mark.timeout(300)

TABS = ("customers", "payments", "refunds", "disputes", "subscriptions")
OPEN = ("USD", "INR")
DAYS, RATE = "28", "40"


class Played:
    """A system on which a business was played."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.ledger = system.started("ledger")
        self.projections = system.started("projections")
        self.intake = system.started("intake")
        self.env = environment(system.settings) | {"PYTHONPATH": os.getcwd()}

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
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
        return out

    def taken(self) -> None:
        """Until intake has checked off all there is, and the read models have what followed."""
        until = asyncio.run(self._published())

        def checked_off() -> bool:
            with self.system.views() as views:
                row = views.execute("SELECT coalesce(sum(next_offset), 0) FROM intake_checkpoints").fetchone()
                waiting = views.execute("SELECT count(*) FROM intake_waiting").fetchone()
            return (row, waiting) == ((until,), (0,))

        eventually(checked_off, what="intake has taken everything")
        events = sum(map(len, self.topic().values()))

        def shown() -> bool:
            with self.system.views() as views:
                return views.execute("SELECT sum(sequence) FROM reports.checkpoints").fetchone() == (events,)

        eventually(shown, what="the read models show everything")

    async def _published(self) -> int:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.system.settings.kafka_bootstrap)
        await consumer.start()
        try:
            places = [TopicPartition(PAYMENTS.name, number) for number in range(PAYMENTS_PARTITIONS)]
            return sum((await consumer.end_offsets(places)).values())
        finally:
            await consumer.stop()

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
def played() -> Iterator[Played]:
    with running(upstream_mode="test") as system:
        yield Played(system)


@pytest.fixture(scope="module")
def report(played: Played, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Twice the same month: cleanly, and with all its troubles, with upstream and intake killed half way."""
    folder: Path = tmp_path_factory.mktemp("upstream")
    troubled = ("upstream", "--business", "bus_troubled", "--journal", str(folder / "troubled.json"))
    first = played.start(*troubled, "--days", DAYS, "--rate", RATE)
    recorded = "wallet_ledger_intake_records_total"
    eventually(lambda: played.intake.metric(recorded) > 300, what="a part of the month")
    played.intake.kill()
    first.kill()
    first.communicate(timeout=10)
    played.intake.start()
    eventually(played.intake.is_ready, what="intake is back")
    made: dict[str, Any] = json.loads(played.run(*troubled, "--json"))
    life = journal.load(folder / "troubled.json")
    assert life is not None
    clean = replace(life, business="bus_clean", clean=True, until=life.start)
    journal.save(folder / "clean.json", clean)
    books = life.lived()[0].world.books
    Report.things = books.things.keys()
    Report.books = {purse: n for purse, n in books.wallets.items() if n and purse[1] in OPEN}
    played.run("upstream", "--journal", str(folder / "clean.json"))
    played.taken()
    return made


class Report:
    """What the books of the played business say."""

    books: dict[Purse, int]
    things: Collection[str]


def by_upstream(played: Played, business: str) -> Counter[Purse]:
    """What upstream's word made of each wallet, with what it lacked: without what the shop did."""
    found: Counter[Purse] = Counter()
    for one in (one for shard in played.topic().values() for one in shard):
        if one.envelope.businessid != business or one.envelope.actor != "intake":
            continue
        fact, customer = one.fact, one.envelope.subject
        if getattr(fact, "reference", "") not in Report.things:
            continue  # the rest of an invoice: how much that is depends on the wallet
        if isinstance(fact, Movement):
            found[(customer, fact.currency)] += (
                fact.amount if isinstance(fact, WalletCredited) else -fact.amount
            )
        elif isinstance(fact, WalletShortfallRecorded):
            found[(customer, fact.currency)] -= fact.amount
        elif isinstance(fact, WalletShortfallReleased):
            found[(customer, fact.currency)] += fact.amount
    return Counter({purse: amount for purse, amount in found.items() if amount})


@pytest.mark.parametrize("business", ["bus_clean", "bus_troubled"])
def test_wallets_are_what_the_books_say(report: dict[str, Any], played: Played, business: str) -> None:
    assert len(Report.books) > 100
    assert by_upstream(played, business) == Report.books


@pytest.mark.parametrize("tab", TABS)
def test_rows_do_not_depend_on_how_news_travelled(report: dict[str, Any], played: Played, tab: str) -> None:
    with played.system.views() as views:
        sides = [
            views.execute(
                f"SELECT to_jsonb(r) - ARRAY['business_id', 'brand_id', 'blocked_at', 'sequence'] "
                f"{'- ARRAY[$$created_at$$, $$updated_at$$]' if tab == 'customers' else ''} "
                f"FROM reports.{tab} r WHERE business_id = %s ORDER BY 1",
                (business,),
            ).fetchall()
            for business in ("bus_clean", "bus_troubled")
        ]
    clean, troubled = (
        [row for (row,) in side if row.get("payment_id", "") in ("", *Report.things)] for side in sides
    )
    assert clean == troubled
    assert len(clean) > 5


def test_balances_are_those_of_the_events(report: dict[str, Any], played: Played) -> None:
    balances: Counter[tuple[str, ...]] = Counter()
    for one in (one for shard in played.topic().values() for one in shard):
        if isinstance(one.fact, Movement):
            amount = one.fact.amount if isinstance(one.fact, WalletCredited) else -one.fact.amount
            balances[(one.envelope.businessid, one.envelope.subject, one.fact.currency)] += amount
            assert one.fact.balance_after >= 0
    with played.system.views() as views:
        rows = views.execute(
            "SELECT business_id, customer_id, currency, balance_minor FROM reports.wallets"
        ).fetchall()
    assert {tuple(row[:3]): row[3] for row in rows} == dict(balances)


def test_everything_is_checked_against_everything(report: dict[str, Any], played: Played) -> None:
    """Also that read models made anew from the topic are those that grew."""
    events = played.topic()
    with played.system.store() as store:
        check_chain(events, store)
        check_store(events, store)
    assert "read models: all fits" in played.run("verify")


def test_the_report_counts_what_was_played(report: dict[str, Any]) -> None:
    assert report["refused"] > 10
    assert report["applied"] > report["refused"]
    assert 0 < report["repeats"] < report["deliveries"] == sum(report["kinds"].values())


def test_tail_reads_all_of_it(report: dict[str, Any], played: Played) -> None:
    events = played.topic()
    values = [one.value.decode() for shard in events.values() for one in shard]
    assert sorted(played.run("events", "tail", "--from", "beginning", "--json").splitlines()) == sorted(
        values
    )
    last = played.run("events", "tail", "--limit", "3").splitlines()
    order = sorted(
        (one.envelope.time, one.envelope.shard, int(one.envelope.sequence))
        for shard in events.values()
        for one in shard
    )
    assert [line.split()[2] for line in last] == [f"{shard}:{sequence}" for _, shard, sequence in order[-3:]]
    customer = next(iter(Report.books))[0]
    own = played.run(
        "events", "tail", "--customer", customer, "--from", "beginning", "--limit", "5"
    ).splitlines()
    assert len(own) == 5
    assert all(customer in line for line in own)


def moved(process: Process) -> float:
    """One figure of each process that must grow while work is done."""
    names = {
        "ledger": "wallet_ledger_commands_total",
        "projections": "wallet_ledger_projection_events_total",
        "intake": "wallet_ledger_intake_records_total",
    }
    return process.metric(names[process.name])


def test_each_process_measures_its_work(report: dict[str, Any], played: Played) -> None:
    for process in (played.ledger, played.projections, played.intake):
        assert moved(process) > 1_000, f"{process.name} measures nothing"


def test_tail_follows_what_comes(report: dict[str, Any], played: Played) -> None:
    process = played.start("events", "tail", "--follow", "--limit", "1")
    assert process.stdout is not None
    process.stdout.readline()
    played.run("upstream", "--business", "bus_later", "--days", "1", "--rate", "5")
    assert "customer.registered" in process.stdout.readline()
    process.kill()
    process.communicate(timeout=10)
