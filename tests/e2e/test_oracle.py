"""The running service answers as the oracle does, through HTTP and through Kafka."""

import os
import random

import pytest

from tests.proof import service

STEPS = 80


@pytest.mark.timeout(180)
def test_the_service_answers_as_the_oracle() -> None:
    seed = int(os.environ.get("WALLET_LEDGER_TEST_SEED") or random.SystemRandom().randrange(10**6))
    print(f"WALLET_LEDGER_TEST_SEED={seed}")
    steps, broken = service.service(seed, STEPS)
    assert broken is None, broken
    assert steps >= STEPS
