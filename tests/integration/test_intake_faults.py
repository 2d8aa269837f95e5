"""Intake under the faults that Faust is known for, with the played business as input: wallets are what its books say.

An exception in the agent would drop what was in flight, a kill may skip, a checkpoint may be older than what was done, a
process that was frozen comes back to partitions that are another's.
"""

import asyncio
import random
from collections.abc import Callable, Iterator

import pytest

from services.upstream.business import Business
from services.upstream.trade import DAY
from services.upstream.world import Delivery, Trouble
from tests.integration.test_intake import checked_off, publish, wallets
from tests.running import Process, System, eventually, running

pytestmark = pytest.mark.timeout(240)

START = 1_790_000_000_000_000
OPEN = ("USD", "INR")
RECORDS = "wallet_ledger_intake_records_total"

Fault = Callable[[System, Process], Process]
"""Given what runs, what runs afterwards."""


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with running(upstream_mode="test", upstream_wait_seconds=0.5) as system:
        system.started("ledger")
        yield system


def again(intake: Process) -> Process:
    intake.start()
    intake.wait_ready()
    return intake


def killed(system: System, intake: Process) -> Process:
    intake.kill()
    return again(intake)


def thrown(system: System, intake: Process) -> Process:
    """Its database goes away in the midst of its work: nothing may be acknowledged, the process must end."""
    with system.views() as views:
        views.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'wallet-ledger intake'"
        )
    eventually(lambda: intake.returncode() is not None, what="it ends by itself")
    assert intake.returncode() == 1
    return again(intake)


def lost_after_a_rebalance(system: System, intake: Process) -> Process:
    other = system.started("intake", "intake-2")
    intake.kill()
    return other


def put_back(system: System, intake: Process) -> Process:
    """As a restored database would have it."""
    intake.kill()
    with system.views() as views:
        views.execute("UPDATE intake_checkpoints SET next_offset = next_offset / 2")
    return again(intake)


def frozen(system: System, intake: Process) -> Process:
    """Longer than its session: the other has its partitions when it wakes up, and it may write what it still holds."""
    intake.freeze()
    other = system.started("intake", "intake-2")
    eventually(lambda: other.metric(RECORDS) > 0 or checked(system) == published[0], what="the other goes on")
    intake.thaw()
    return other


published = [0]


def checked(system: System) -> int:
    with system.views() as views:
        return checked_off(views)


@pytest.mark.parametrize("fault", [killed, thrown, lost_after_a_rebalance, put_back, frozen])
def test_nothing_is_lost_and_nothing_is_doubled(system: System, fault: Fault) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    name = f"bus_{fault.__name__}"
    business = Business(seed, name, "test", START, 60, Trouble(), joining=2 * DAY)
    letters = [*business.world.play(START + 3 * DAY), *business.world.drain()]
    values = [one.value for one in letters if isinstance(one, Delivery)]
    half = len(values) // 2
    intake = system.started("intake")
    asyncio.run(publish(system, values[:half]))
    published[0] += half
    eventually(lambda: wallets(system, name)[1].total() > 5, what="the first facts")
    intake = fault(system, intake)
    asyncio.run(publish(system, values[half:]))
    published[0] += len(values) - half
    eventually(lambda: checked(system) == published[0], what="all checked off")
    expected = {purse[0]: 0 for purse in business.world.books.wallets}
    for (customer, currency), amount in business.world.books.wallets.items():
        expected[customer] += amount if currency in OPEN else 0
    balances, types = wallets(system, name)
    assert +balances == {customer: amount for customer, amount in expected.items() if amount}
    assert types["wallet.shortfall_recorded.v1"] == 0
    system.kill_services("intake", "intake-2")
