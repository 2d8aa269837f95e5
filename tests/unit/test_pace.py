"""When paced work goes, in simulated time."""

import asyncio

from services.pace import Pace
from tests.fakes.simulation import simulate


async def _moments(pace: Pace, arrivals: list[float]) -> list[float]:
    """In milliseconds after the start: when each arrival had its turn."""
    loop = asyncio.get_running_loop()
    start = loop.time()

    async def one(arrival: float) -> float:
        await asyncio.sleep(arrival / 1000)
        await pace.turn()
        return round((loop.time() - start) * 1000, 1)

    return list(await asyncio.gather(*(one(arrival) for arrival in arrivals)))


def test_after_a_quiet_moment_work_goes_at_once() -> None:
    assert simulate(_moments(Pace(0.008), [0, 20, 40])) == [0, 20, 40]


def test_what_comes_in_the_same_moment_goes_together() -> None:
    assert simulate(_moments(Pace(0.008), [0, 0, 0.3])) == [0, 0, 0.3]


def test_in_a_busy_moment_work_waits_for_company() -> None:
    assert simulate(_moments(Pace(0.008), [0, 2, 5, 9])) == [0, 8, 8, 16]


def test_calm_work_waits_longer() -> None:
    assert simulate(_moments(Pace(0.008, 0.025), [0, 2, 12, 24])) == [0, 25, 25, 25]


def test_somebody_who_waits_hurries_all() -> None:
    async def hurried() -> list[float]:
        pace = Pace(0.008, 0.025)
        pace.hurry()
        return await _moments(pace, [0, 2, 12])

    assert simulate(hurried()) == [0, 8, 16]
