"""Waiting for read models, and the breaker before Kafka."""

import asyncio

import pytest

from services.api import breaker as breaker_module
from services.api import visibility as visibility_module
from services.api.breaker import Breaker
from services.api.health import Checks
from services.api.ports import ViewsUnavailable
from services.api.rates import UsdRates
from services.api.visibility import PostgresVisibility
from services.settings import Settings


class Checkpoints:
    """What a look at the table finds."""

    def __init__(self) -> None:
        self.found = [(0, 5), (1, 0)]
        self.looks = 0
        self.away = False

    async def __call__(self) -> list[tuple[int, int]]:
        self.looks += 1
        if self.away:
            raise ViewsUnavailable
        return self.found


async def waiting(checkpoints: Checkpoints) -> PostgresVisibility:
    visibility = PostgresVisibility("", 2, checkpoints)
    visibility._note(await checkpoints())
    return visibility


async def test_what_is_there_is_not_waited_for() -> None:
    visibility = await waiting(checkpoints := Checkpoints())
    assert await visibility.wait(0, 5, 0)
    assert not await visibility.wait(0, 6, 0)
    assert not await visibility.wait(1, 1, 0.01)
    assert checkpoints.looks == 1
    await visibility.stop()


async def test_a_notification_wakes_those_it_concerns() -> None:
    visibility = await waiting(Checkpoints())
    first, second, other = [asyncio.create_task(visibility.wait(*who, 5)) for who in ((0, 6), (0, 8), (1, 6))]
    await asyncio.sleep(0)
    visibility._note([(0, 7), (9, 9)])
    assert await first
    assert not second.done()
    assert not other.done()
    visibility._note([(1, 6), (0, 7), (0, 9)])
    assert [*await asyncio.gather(second, other)] == [True, True]
    await visibility.stop()


async def test_who_waits_no_more_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the table would be asked for ever."""
    monkeypatch.setattr(visibility_module, "_POLL_SECONDS", 0)
    visibility = await waiting(Checkpoints())
    shown = asyncio.create_task(visibility.wait(0, 6, 5))
    assert not await visibility.wait(1, 1, 0.001)
    visibility._note([(0, 6)])
    assert await shown
    assert visibility._waiting == [[], []]
    assert visibility._poller is not None
    await asyncio.wait_for(visibility._poller, 5)


async def test_a_lost_notification_costs_a_look_at_the_table() -> None:
    visibility = await waiting(checkpoints := Checkpoints())
    checkpoints.away = True
    waiter = asyncio.create_task(visibility.wait(0, 6, 5))
    await asyncio.sleep(0.25)
    assert not waiter.done()
    checkpoints.away = False
    checkpoints.found = [(0, 6)]
    assert await asyncio.wait_for(waiter, 1)
    await visibility.stop()


async def test_a_sequence_never_goes_back() -> None:
    visibility = await waiting(Checkpoints())
    visibility._note([(0, 3)])
    assert await visibility.wait(0, 5, 0)


async def test_what_was_heard_is_asked_of_the_tables() -> None:
    """Another server may have taken the place of the one that said it; and whoever may connect to it may say anything."""
    visibility = await waiting(Checkpoints())
    visibility._note([(0, 8)])
    assert await visibility.confirm({0: 5, 1: 0})
    assert await visibility.wait(0, 8, 0), "what was heard since the look is not forgotten"
    assert not await visibility.confirm({0: 8})
    assert not await visibility.wait(0, 8, 0)
    assert await visibility.wait(0, 5, 0)


async def test_owed_positions_are_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = [100.0]
    monkeypatch.setattr(visibility_module, "monotonic", lambda: moment[0])
    visibility = await waiting(Checkpoints())
    assert visibility.lag_seconds() == 0
    visibility.owe(0, 6)
    moment[0] += 3
    visibility.owe(0, 7)
    assert visibility.lag_seconds() == 3
    visibility._note([(0, 7)])
    assert visibility.lag_seconds() == 0
    visibility.owe(0, 8)
    moment[0] += 2
    assert visibility.lag_seconds() == 2


async def test_what_a_caller_made_up_is_no_lag() -> None:
    """Else one header of one key would make every process not ready."""
    visibility = await waiting(Checkpoints())
    assert not await visibility.wait(0, 999_999_999, 0.01)
    assert visibility.lag_seconds() == 0
    await visibility.stop()


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moment = [100.0]
    monkeypatch.setattr(breaker_module, "monotonic", lambda: moment[0])
    return moment


async def test_the_breaker_opens_for_a_partition_that_does_not_acknowledge(now: list[float]) -> None:
    breaker = Breaker(2)
    sent: list[asyncio.Future[object]] = [asyncio.get_running_loop().create_future() for _ in range(3)]
    breaker.handed_over(0, sent[0])
    breaker.handed_over(0, sent[1])
    breaker.handed_over(1, sent[2])
    sent[2].set_result(None)
    now[0] += breaker_module.UNACKNOWLEDGED_SECONDS_MAX + 0.1
    breaker.sweep()
    assert (breaker.refuses(0), breaker.refuses(1)) == (True, False)
    assert breaker.problem == "1 partitions do not acknowledge"
    sent[0].set_result(None)
    breaker.sweep()
    assert breaker.refuses(0)
    sent[1].set_exception(OSError("gone"))  # an error is an end as well, and must not be left unread
    breaker.sweep()
    assert not breaker.refuses(0)
    assert breaker.problem is None


async def test_the_breaker_is_open_for_all_while_no_broker_answers() -> None:
    breaker = Breaker(2)
    breaker.reachable = False
    assert breaker.refuses(0)
    assert breaker.refuses(1)
    assert breaker.problem


@pytest.mark.parametrize(
    ("silence", "lag", "skew", "gateway", "named"),
    [
        (0.5, 0.0, 0.0, {}, set()),
        (None, 0.0, 0.0, {}, {"projections"}),
        (5.1, 0.0, 0.0, {}, {"projections"}),
        (0.5, 5.1, 0.0, {}, {"projections"}),
        (0.5, 0.0, 1.5, {}, {"clock"}),
        (0.5, 0.0, 0.0, {"kafka": "away"}, {"kafka"}),
        (5.1, 0.0, -1.5, {"ledger": "silent"}, {"ledger", "projections", "clock"}),
    ],
)
async def test_readiness(
    monkeypatch: pytest.MonkeyPatch,
    silence: float | None,
    lag: float,
    skew: float,
    gateway: dict[str, str],
    named: set[str],
) -> None:
    monkeypatch.setattr("services.api.health.time.time", lambda: 1000.0)

    async def freshness() -> tuple[float, float | None]:
        return 1000.0 + skew, silence

    assert set(await Checks(lambda: gateway, freshness, lambda: lag).problems()) == named


async def test_readiness_without_a_database() -> None:
    async def freshness() -> tuple[float, float | None]:
        raise ViewsUnavailable("PoolTimeout")

    assert set(await Checks(lambda: {"kafka": "away"}, freshness, lambda: 9.0).problems()) == {
        "kafka",
        "views",
    }


@pytest.mark.parametrize(
    ("rates", "balances", "cents"),
    [
        ({"USD": "1"}, [("USD", 7)], 7),
        ({"USD": "1", "INR": "0.0112"}, [("USD", 1), ("INR", 100)], 2),
        ({"JPY": "0.005"}, [("JPY", 1)], 0),
        ({"JPY": "0.005"}, [("JPY", 3)], 2),
        ({"JPY": "0.0065"}, [("JPY", 1000)], 650),
        ({"KWD": "3.25"}, [("KWD", 1000)], 325),
        ({"USD": "1"}, [("USD", 2**53 - 1)], 2**53 - 1),
        ({"USD": "1"}, [], 0),
    ],
)
def test_totals_are_exact_and_rounded_once(
    rates: dict[str, str], balances: list[tuple[str, int]], cents: int
) -> None:
    settings = Settings(currencies=tuple(rates), usd_rates=rates)
    assert UsdRates(settings).total_cents(balances) == cents


@pytest.mark.parametrize("rate", ["", "x", "0", "-1", "NaN", "Infinity"])
def test_a_rate_is_a_positive_number(rate: str) -> None:
    with pytest.raises(ValueError, match="USD"):
        Settings(currencies=("USD",), usd_rates={"USD": rate})


def test_an_open_currency_needs_a_rate() -> None:
    with pytest.raises(ValueError, match="JPY"):
        Settings(currencies=("JPY",))
