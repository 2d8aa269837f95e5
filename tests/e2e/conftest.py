"""One running service for the proofs that leave it as others need it: each has businesses of its own."""

import os
import random
from collections.abc import Iterator

import pytest

from tests.proof import service


@pytest.fixture(scope="session")
def machine() -> Iterator[type[service.ServiceMachine]]:
    with service.started() as started:
        yield started


@pytest.fixture
def seed() -> int:
    chosen = int(os.environ.get("WALLET_LEDGER_TEST_SEED") or random.SystemRandom().randrange(10**6))
    print(f"WALLET_LEDGER_TEST_SEED={chosen}")
    return chosen
