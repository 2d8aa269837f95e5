"""Was every answer true? Clients' books against topic, store and read models; `wallet-ledger verify` says it again."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from http import HTTPStatus

from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import UNSET

from events.facts import WalletCredited, WalletDebited, WalletDebitRefused
from events.topics import PAYMENTS, PAYMENTS_PARTITIONS
from services.standalone.environment import environment
from tests.asking import read_topic
from tests.auditing import Told, check_chain, check_store, check_views, events_of, outcomes_of
from tests.chaos.load import NOT_APPLIED, UNKNOWN, Request
from tests.chaos.payments import TopUp
from tests.running import System, eventually

SETTLED_SECONDS_MAX = 60.0
SHOWN_MAX = 20
Events = Mapping[int, list[Told]]


@dataclass
class Verdict:
    """Counts, and what must not have happened in words."""

    events: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    top_ups: int = 0
    broken: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        if len(self.broken) < SHOWN_MAX:
            self.broken.append(line)


async def judge(system: System, requests: list[Request], top_ups: list[TopUp]) -> Verdict:
    """Once topic and read models have all that the store has and intake has told all."""
    verdict = Verdict()
    try:
        await _settle_intake(system)
        _settle(system)
    except AssertionError as unsettled:
        verdict.say(str(unsettled))
    events = events_of(await read_topic(system.kafka.bootstrap, system.settings.shards))
    verdict.events = sum(map(len, events.values()))
    outcomes = outcomes_of(events)
    for request in requests:
        found = outcomes.get(sha256(request.key.encode()).hexdigest(), [])
        judge_answer(verdict, request, found)
    for key, found in outcomes.items():
        if key and len(found) > 1 and found[0].envelope.origin == "api":
            verdict.doubled += 1
            verdict.say(f"one key, {len(found)} events, the first {found[0].envelope.id}")
    judge_top_ups(verdict, top_ups, events)
    with system.store() as store, system.views() as views:
        _kept(verdict, "chain", lambda: check_chain(events, store))
        _kept(verdict, "store", lambda: check_store(events, store))
        _kept(verdict, "read models", lambda: check_views(events, views))
    _verify(verdict, system)
    return verdict


def _settle(system: System) -> None:
    with system.store() as store, system.views() as views:
        query = "SELECT shard, sequence FROM checkpoints ORDER BY shard"

        def same() -> bool:
            heads = store.execute("SELECT shard, sequence FROM shards ORDER BY shard").fetchall()
            return views.execute(query).fetchall() == heads

        eventually(same, SETTLED_SECONDS_MAX, what="read models have what the store has")


async def _settle_intake(system: System) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=system.kafka.bootstrap, group_id=None)
    await consumer.start()
    try:
        places = [TopicPartition(PAYMENTS.name, number) for number in range(PAYMENTS_PARTITIONS)]
        ends = {place.partition: end for place, end in (await consumer.end_offsets(places)).items() if end}
    finally:
        await consumer.stop()
    with system.views() as views:
        query = "SELECT partition, next_offset FROM intake_checkpoints"
        eventually(
            lambda: ends.items() <= dict(views.execute(query).fetchall()).items(),
            SETTLED_SECONDS_MAX,
            what="intake has read all",
        )


def judge_answer(verdict: Verdict, request: Request, found: list[Told]) -> None:
    """It stands in the topic as it was given; what was refused for good is not there."""
    status = request.status
    if request.unseen_read:
        verdict.say(f"{request.key}: a read behind it said {request.unseen_read}")
    if status in (HTTPStatus.OK, HTTPStatus.BAD_REQUEST):
        verdict.acknowledged += 1
        if not found:
            verdict.lost += 1
            verdict.say(f"{request} is not there")
        elif (wrong := _wrong(request, found[0])) is not None:
            verdict.say(f"{request}: {wrong}")
    elif status not in (NOT_APPLIED, UNKNOWN):
        verdict.say(f"{request} was answered so")
    elif request.patient:
        verdict.say(f"{request} never got an outcome")
    elif status == NOT_APPLIED and len(request.seen) == 1 and found:
        verdict.say(f"{request} was refused and is there")


def _wrong(request: Request, found: Told) -> str | None:
    fact, envelope = found.fact, found.envelope
    if (envelope.subject, envelope.id) != (request.customer, request.position):
        return f"{envelope.id} of {envelope.subject} is not what was answered"
    if request.status == HTTPStatus.OK:
        kind = WalletCredited if request.entry_type == "credit" else WalletDebited
        wanted = (request.amount, request.body["balance"])
        right = isinstance(fact, kind) and (fact.amount, fact.balance_after) == wanted
    else:
        right = request.body["code"] == "INSUFFICIENT_WALLET_FUNDS" and isinstance(fact, WalletDebitRefused)
        right = right and fact.amount == request.amount > fact.balance  # type: ignore[union-attr]
    return None if right else f"the event says {fact}"


def judge_top_ups(verdict: Verdict, top_ups: list[TopUp], events: Events) -> None:
    """Each once, with its amount, to its customer."""
    found = credited(events)
    for one in top_ups:
        verdict.top_ups += 1
        credits = found.pop(one.payment, [])
        if not credits:
            verdict.lost += 1
            verdict.say(f"{one} is not there")
        elif credits != [(one.customer, one.amount)]:
            verdict.doubled += len(credits) > 1
            verdict.say(f"{one} is there as {credits}")


def credited(events: Events) -> dict[str, list[tuple[str, int]]]:
    """Credits by the payment that they name."""
    found: dict[str, list[tuple[str, int]]] = {}
    for told in (one for shard in events.values() for one in shard):
        fact = told.fact
        if isinstance(fact, WalletCredited) and fact.reference is not UNSET:
            found.setdefault(fact.reference, []).append((told.envelope.subject, fact.amount))
    return found


def _kept(verdict: Verdict, what: str, check: Callable[[], None]) -> None:
    try:
        check()
    except AssertionError as broken:
        verdict.say(f"{what}: {str(broken)[:500]}")


def _verify(verdict: Verdict, system: System) -> None:
    """The operator's own check."""
    env = environment(system.settings) | {"PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-m", "services.cli", "verify", "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        verdict.say(f"verify: {done.stdout[-1000:]}{done.stderr[-1000:]}")


def statuses(requests: list[Request]) -> Counter[int]:
    """Last words."""
    return Counter(request.status for request in requests)
