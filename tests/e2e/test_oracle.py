"""The running service answers as the oracle does, through HTTP and through Kafka, and spends no unit twice in a race."""

import pytest

from tests.proof import dealing, model, races, refunding, service

STEPS = 80
DEBITS = 1_500
RETRIES = 480


@pytest.mark.timeout(300)
def test_the_service_answers_as_the_oracle(machine: type[service.ServiceMachine], seed: int) -> None:
    steps, broken = model.run(machine, seed, STEPS, service.STEPS_MAX)
    assert broken is None, broken
    assert steps >= STEPS


@pytest.mark.timeout(300)
def test_it_answers_so_about_purchases(machine: type[service.ServiceMachine], seed: int) -> None:
    steps, broken = model.run(dealing.dealing(machine), seed, STEPS, service.STEPS_MAX)
    assert broken is None, broken
    assert steps >= STEPS


@pytest.mark.timeout(300)
async def test_wallets_that_can_pay_for_half_pay_for_half(
    machine: type[service.ServiceMachine], seed: int
) -> None:
    running = machine.service
    raced = await races.race(running.system, running.url, seed, DEBITS)
    print(raced.line)
    assert not raced.broken
    assert raced.applied.total() == raced.debits // 2
    assert raced.requests > raced.debits


@pytest.mark.timeout(300)
async def test_of_racing_refunds_exactly_what_was_paid_comes(
    machine: type[service.ServiceMachine], seed: int
) -> None:
    running = machine.service
    refunded = await refunding.race(running.system, running.url, seed, RETRIES)
    print(refunded.line)
    assert not refunded.broken
    assert refunded.requests > RETRIES > len(refunded.outcomes)
    assert len(refunded.by_upstream) > len(refunded.payments) / 2
