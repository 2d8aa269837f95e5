"""The running service answers as the oracle does, through HTTP and through Kafka, and spends no unit twice in a race."""

import os
import random
from collections.abc import Iterator

import pytest

from tests.proof import model, races, service

STEPS = 80
DEBITS = 1_500


@pytest.fixture(scope="module")
def machine() -> Iterator[type[service.ServiceMachine]]:
    with service.started() as started:
        yield started


@pytest.fixture
def seed() -> int:
    chosen = int(os.environ.get("WALLET_LEDGER_TEST_SEED") or random.SystemRandom().randrange(10**6))
    print(f"WALLET_LEDGER_TEST_SEED={chosen}")
    return chosen


@pytest.mark.timeout(180)
def test_the_service_answers_as_the_oracle(machine: type[service.ServiceMachine], seed: int) -> None:
    steps, broken = model.run(machine, seed, STEPS, service.STEPS_MAX)
    assert broken is None, broken
    assert steps >= STEPS


@pytest.mark.timeout(180)
async def test_wallets_that_can_pay_for_half_pay_for_half(
    machine: type[service.ServiceMachine], seed: int
) -> None:
    running = machine.service
    raced = await races.race(running.system, running.url, seed, DEBITS)
    print(raced.line)
    assert not raced.broken
    assert raced.applied.total() == raced.debits // 2
    assert raced.requests > raced.debits
