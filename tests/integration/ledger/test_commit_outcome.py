"""The connection breaks at COMMIT: the worker cannot know, so it says nothing; asking again tells."""

from collections.abc import AsyncIterator
from hashlib import sha256
from typing import NamedTuple
from uuid import uuid4

import pytest
from pydantic import SecretStr

from events.codec import decode_envelope
from events.commands import DebitWallet
from events.replies import Outcome
from tests.asking import Asker, credit, customer_in, debit, registration
from tests.integration.ledger.conftest import SHARDS, audit
from tests.integration.ledger.proxy import Cut, Proxy
from tests.running import Process, System


class Behind(NamedTuple):
    """A worker behind a proxy, and one customer with 100 in his wallet."""

    system: System
    asker: Asker
    proxy: Proxy
    worker: Process
    customer: str


@pytest.fixture
async def behind(system: System, asker: Asker) -> AsyncIterator[Behind]:
    proxy = Proxy(system.postgres.port)
    direct, port = system.settings.store_dsn.get_secret_value(), await proxy.start()
    dsn = direct.replace(f":{system.postgres.port}/", f":{port}/")
    worker = system.service("ledger", "behind", store_dsn=SecretStr(dsn))
    worker.start()
    customer = customer_in(1, SHARDS, uuid4().hex[:8])
    assert (await asker.ask(customer, registration(), f"register {customer}")).outcome is Outcome.APPLIED
    assert (await asker.ask(customer, credit(100), f"credit {customer}")).balance_after == 100
    yield Behind(system, asker, proxy, worker, customer)
    await audit(system, asker)
    worker.kill()
    await proxy.stop()


@pytest.mark.parametrize(("ask", "outcome"), [(debit(30), Outcome.APPLIED), (debit(500), Outcome.REFUSED)])
async def test_committed_but_unanswered_is_answered_when_asked_again(
    behind: Behind, ask: DebitWallet, outcome: Outcome
) -> None:
    _, asker, proxy, worker, customer = behind
    key = uuid4().hex
    proxy.cut = Cut.AFTER
    first = await asker.send(customer, ask, key)
    await proxy.done.wait()
    assert events_with(behind, key) == 1

    second = await asker.send(customer, ask, key)
    reply = await asker.reply(second)

    assert (reply.outcome, reply.replayed) == (outcome, True)
    assert worker.said("worker_starts_anew")
    assert first.correlation not in asker.replies
    assert events_with(behind, key) == 1


async def test_not_committed_is_decided_again_and_answered_once(behind: Behind) -> None:
    _, asker, proxy, worker, customer = behind
    key = uuid4().hex
    proxy.cut = Cut.BEFORE
    first = await asker.send(customer, debit(30), key)
    await proxy.done.wait()
    assert first.correlation not in asker.replies

    reply = await asker.reply(first)

    assert (reply.outcome, reply.replayed, reply.balance_after) == (Outcome.APPLIED, False, 70)
    assert worker.said("worker_starts_anew")
    assert (await asker.ask(customer, debit(30), key)).replayed
    assert events_with(behind, key) == 1


def events_with(behind: Behind, key: str) -> int:
    """How many events the store has for this key; the audit finds the same in the topic."""
    with behind.system.store() as store:
        rows = store.execute("SELECT state FROM stored_events").fetchall()
    hashed = sha256(key.encode()).hexdigest()
    return sum(decode_envelope(state).keyhash == hashed for (state,) in rows)
