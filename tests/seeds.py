"""What is random in a test says its seed, and is repeated by it."""

import os
import random

SEED = "WALLET_LEDGER_TEST_SEED"


def chosen() -> int:
    """The one that the environment names, else a new one; pytest shows it where the test fails."""
    seed = int(os.environ.get(SEED) or random.SystemRandom().randrange(10**6))
    print(f"{SEED}={seed}")
    return seed
