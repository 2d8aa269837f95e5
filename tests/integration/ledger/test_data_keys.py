"""A key table that does not fit: as a whole it is known at the start, a single row concerns its customer alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import UUID, uuid4

import psycopg
import pytest
from pydantic import SecretStr

from events.ids import owner_of
from events.replies import Outcome
from services.coffin import month_owner
from services.standalone.process import last_lines
from tests.asking import TENANT, Asker, credit, customer_in, registration
from tests.integration.ledger.conftest import SHARDS, audit
from tests.running import System, eventually

SHARD = 2
OTHER_KEK = SecretStr("A" * 43 + "=")


@contextmanager
def damaged(system: System, owner: UUID) -> Iterator[None]:
    """Its row, and as it was afterwards."""
    with psycopg.connect(system.settings.keys_dsn.get_secret_value(), autocommit=True) as keys:
        [(whole,)] = keys.execute("SELECT wrapped FROM data_keys WHERE owner = %s", [owner]).fetchall()
        keys.execute(
            "UPDATE data_keys SET wrapped = set_byte(wrapped, 20, 255 - get_byte(wrapped, 20)) WHERE owner = %s",
            [owner],
        )
        try:
            yield
        finally:
            keys.execute("UPDATE data_keys SET wrapped = %s WHERE owner = %s", [whole, owner])


async def test_a_damaged_row_fails_the_commands_of_its_customer_and_of_no_other(
    system: System, asker: Asker
) -> None:
    worker = system.started("ledger")
    mine, other = (customer_in(SHARD, SHARDS, uuid4().hex[:8]) for _ in range(2))
    for customer in (mine, other):
        assert (await asker.ask(customer, registration(), uuid4().hex)).outcome is Outcome.APPLIED
    worker.kill()
    with damaged(system, owner_of(TENANT, mine)):
        worker.start()
        failed = await asker.ask(mine, credit(1), uuid4().hex)
        assert (failed.outcome, failed.code) == (Outcome.FAILED, "INTERNAL_SERVER_ERROR")
        assert (await asker.ask(mine, registration(), uuid4().hex)).outcome is Outcome.FAILED
        assert (await asker.ask(other, credit(2), uuid4().hex)).outcome is Outcome.APPLIED
        assert worker.said("data_key_damaged")
        assert not worker.said("worker_starts_anew")
        worker.kill()
    worker.start()
    assert (await asker.ask(mine, credit(3), uuid4().hex)).balance_after == 3
    await audit(system, asker)


async def test_a_damaged_key_of_dead_letters_stops_the_shards_of_such_records_only(
    system: System, asker: Asker
) -> None:
    worker = system.started("ledger")
    mine, other = (customer_in(shard, SHARDS, uuid4().hex[:8]) for shard in (SHARD, SHARD + 1))
    for customer in (mine, other):
        assert (await asker.ask(customer, registration(), uuid4().hex)).outcome is Outcome.APPLIED
    await asker.send_bytes(b"{", SHARD)
    assert (await asker.ask(mine, credit(1), uuid4().hex)).balance_after == 1, (
        "what cannot be read lies behind it"
    )
    assert worker.metric("wallet_ledger_dead_letters_total") == 1, "the month has a key"
    worker.kill()
    with damaged(system, month_owner(f"{datetime.now(UTC):%Y-%m}")):
        worker.start()
        assert (await asker.ask(mine, credit(1), uuid4().hex)).balance_after == 2
        await asker.send_bytes(b"{", SHARD)
        behind = await asker.send(mine, credit(2), uuid4().hex)
        eventually(lambda: worker.said("dead_letters_not_sealed"), what="it is said")
        assert (await asker.ask(other, credit(3), uuid4().hex)).balance_after == 3
        assert f"[{SHARD}]" in worker.problems()["dead_letters"]
        assert not worker.said("worker_starts_anew")
    assert (await asker.reply(behind)).balance_after == 4
    assert worker.returncode() is None
    await audit(system, asker)


@pytest.mark.parametrize("kind", ["ledger", "intake"])
async def test_another_key_encryption_key_is_told_before_anything_is_done(
    system: System, asker: Asker, kind: str
) -> None:
    worker = system.started("ledger")
    customer = customer_in(SHARD, SHARDS, uuid4().hex[:8])
    assert (await asker.ask(customer, registration(), uuid4().hex)).outcome is Outcome.APPLIED
    worker.kill()
    wrong = system.service(kind, f"wrong-{kind}", key_encryption_key=OTHER_KEK)
    wrong.start()
    eventually(lambda: wrong.returncode() is not None, what="the end of it")
    assert wrong.returncode() == 3
    assert "WALLET_LEDGER_KEY_ENCRYPTION_KEY: it does not fit" in last_lines(wrong.log)
