"""What the load generator is told and what it tells: it is a process of its own."""

import random
import subprocess
import sys

import msgspec
from msgspec import Struct

from services.standalone.process import StandaloneError

BODIES = 1024
OVERDRAFTS_EACH = 256
"""One request of so many asks for more than any wallet has: the balance check is on, and must say no."""

CHOICES = 65_521  # prime: wallets and bodies meet in all combinations
AMOUNT_BEYOND_ALL = 900_000_000_000


class Plan(Struct, frozen=True, kw_only=True):
    """A closed loop: each client sends its next request when it has the answer to the last."""

    ports: list[int]
    api_key: str
    clients: int
    warmup_seconds: float
    seconds: float
    method: str
    path: str
    customers: list[str]
    run: str = ""
    respond_async: bool = False
    per_second: int = 0
    """Of all clients together; 0: as much as they can. Nobody hurries to make up for what was slow."""


class Latency(Struct, frozen=True):
    """Milliseconds, of the requests answered with 200 in the measured time."""

    p50: float
    p90: float
    p99: float
    max: float


class Outcome(Struct, frozen=True, kw_only=True):
    """Counts are of the measured time; `acknowledged` is every 200 of the whole run, the warm-up's too."""

    seconds: float
    answers: dict[str, int]
    latency: Latency
    stale: int
    broken: int
    cpu_seconds: float
    acknowledged: list[tuple[int, str]]
    overdrafts_sent: int


def is_overdraft(number: int) -> bool:
    """Whether request `number` asks for more than there is."""
    return number % OVERDRAFTS_EACH == OVERDRAFTS_EACH - 1


def key_of(run: str, number: int) -> str:
    """The idempotency key of a request."""
    return f"bench-{run}-{number:010d}"


def bodies() -> list[bytes]:
    """Credits and debits of three digits in equal parts, with the overdrafts between them."""
    chance = random.Random(1)
    return [_body(number, chance) for number in range(BODIES)]


def _body(number: int, chance: random.Random) -> bytes:
    kind = chance.choice(("credit", "debit"))
    amount = chance.randint(100, 999)
    if is_overdraft(number):
        kind, amount = "debit", AMOUNT_BEYOND_ALL
    return b'{"amount":%d,"currency":"USD","entry_type":"%s"}' % (amount, kind.encode())


def generate(plan: Plan) -> Outcome:
    """Run the generator.

    Raises:
        StandaloneError: it failed, or nothing was ever answered with 200.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.generator"],
        input=msgspec.msgpack.encode(plan),
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise StandaloneError(f"the load generator failed:\n{done.stderr.decode(errors='replace')}")
    outcome = msgspec.msgpack.decode(done.stdout, type=Outcome)
    if not outcome.answers.get("200"):
        raise StandaloneError(f"no request got a 200: answers {outcome.answers}, none to {outcome.broken}")
    return outcome
