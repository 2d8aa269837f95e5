"""Hostile records in the topics that others write: nothing stops, nothing is lost, and all of it is counted.

`ledger.commands` has tests of its own (tests/integration/ledger/test_hostile_bytes.py). `ledger.events` belongs to the
ledger alone: there a foreign record halts its shard and is never skipped (tests/integration/test_projections_agent.py).
"""

import asyncio
import json
import subprocess
import sys

import httpx
import pytest
from aiokafka.errors import MessageSizeTooLargeError

from events.topics import DEAD_LETTERS, PAYMENTS, REPLIES, REPLIES_PARTITIONS, TOPICS, Topic
from services.standalone.environment import environment
from tests.proof import abuse, hostile, service
from tests.proof.told import Told
from tests.running import eventually

pytestmark = pytest.mark.timeout(300)  # the machine may have to start first
Machine = type[service.ServiceMachine]


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: str(topic.name))
async def test_ten_megabytes_fit_into_no_topic(machine: Machine, topic: Topic) -> None:
    with pytest.raises(MessageSizeTooLargeError):
        await hostile.write(
            machine.service.system.kafka.bootstrap, topic.name, [b"x" * hostile.TEN_MEGABYTES]
        )


def test_intake_puts_aside_what_it_cannot_understand(machine: Machine) -> None:
    running = machine.service
    intake, bootstrap = running.processes["intake"], running.system.kafka.bootstrap
    business = "biz_hostile"
    good = Told(business, "cus_hostile").events()[0]
    bad = [*hostile.no_json().values(), *hostile.wrong(good).values()]
    before = intake.metric("wallet_ledger_intake_dead_letters_total")
    asyncio.run(hostile.write(bootstrap, PAYMENTS.name, bad))
    asyncio.run(hostile.write(bootstrap, PAYMENTS.name, [hostile.encoded(good)]))
    headers = abuse.bearer(running, business)
    path = f"{running.url}/payments/{good['data']['payment_id']}"
    eventually(lambda: httpx.get(path, headers=headers).status_code == 200, what="the good one behind them")
    assert intake.metric("wallet_ledger_intake_dead_letters_total") - before == len(bad)
    assert intake.returncode() is None


def test_replies_that_nobody_wrote_disturb_nobody(machine: Machine) -> None:
    running = machine.service
    api, bootstrap = running.processes["api"], running.system.kafka.bootstrap
    bad = [*hostile.no_json().values(), b'{"correlation":5}', b'{"correlation":"x","outcome":"future"}']
    for partition in range(REPLIES_PARTITIONS):
        asyncio.run(hostile.write(bootstrap, REPLIES.name, bad, partition))
    answer = httpx.post(
        f"{running.url}/customers", json={"name": "A", "email": "a"},
        headers=abuse.bearer(running, "biz_hostile"), timeout=20,
    )  # fmt: skip
    assert answer.status_code == 200
    eventually(
        lambda: api.metric("wallet_ledger_api_commands_total", outcome="malformed_reply") >= len(bad),
        what="all of one partition at least",
    )
    assert api.returncode() is None


def test_operators_see_dead_letters_between_foreign_records(machine: Machine) -> None:
    system = machine.service.system
    bad = [*hostile.no_json().values(), b'{"topic":"ledger.events","partition":-1}']
    asyncio.run(hostile.write(system.kafka.bootstrap, DEAD_LETTERS.name, bad))
    asyncio.run(hostile.write(system.kafka.bootstrap, PAYMENTS.name, [b"the last one"]))
    argv = [sys.executable, "-m", "services.cli", "dead-letters", "list", "--json"]

    def listed() -> str:
        done = subprocess.run(argv, env=environment(system.settings), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("is no dead letter") == len(bad)
        return done.stdout

    eventually(lambda: json.loads(listed())[-1]["code"] == "NOT_JSON", what="the letter behind them")
