"""Whoever asks too often waits; nobody else does."""

from typing import Any

import httpx
import pytest
from uvicorn.middleware.proxy_headers import _TrustedHosts

from services.api import limits
from services.api.limits import Buckets, as_told, network_of
from services.settings import Settings
from tests.unit.api.fakes import Api, make_api
from tests.unit.api.webhook_fakes import ENDPOINT, OTHER_SECRET, SECOND, signed


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_empties_and_fills() -> None:
    clock = Clock()
    buckets = Buckets(10, 3, clock)
    assert [buckets.take("a").left for _ in range(3)] == [2, 1, 0]
    empty = buckets.take("a")
    assert empty.wait == pytest.approx(0.1)
    assert empty.full_in == pytest.approx(0.3)
    assert buckets.take("b").wait == 0
    clock.now += 0.1
    assert buckets.take("a").wait == 0
    assert buckets.take("a").wait > 0
    clock.now += 100
    assert [buckets.take("a").wait == 0 for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize(("per_second", "burst"), [(1, 1), (3, 7), (1_000, 50), (20, 200)])
def test_over_a_long_time_the_rate_is_the_rate(per_second: int, burst: int) -> None:
    clock = Clock()
    buckets = Buckets(per_second, burst, clock)
    taken, seconds = 0, 20
    for _ in range(seconds * per_second * 2):
        taken += buckets.take("a").wait == 0
        clock.now += 1 / (2 * per_second)
    assert abs(taken - (seconds * per_second + burst)) <= 1


def test_looking_takes_nothing() -> None:
    buckets = Buckets(1, 1, Clock())
    for _ in range(5):
        assert buckets.take("a", 0).wait == 0
    buckets.take("a")
    assert buckets.take("a", 0).wait > 0


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BUCKETS_MAX", 10)
    buckets = Buckets(1, 1, Clock())
    for number in range(100):
        buckets.take("mine", 0)
        buckets.take(str(number))
    assert len(buckets._full_at) == 10
    assert buckets.take("99").wait > 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("198.51.100.1", "198.51.100.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("::ffff:198.51.100.1", "::ffff:203.0.113.9", False),
        ("::ffff:198.51.100.1", "198.51.100.1", True),
        ("", "", True),
        ("nonsense:", "nonsense:", True),
    ],
)
def test_who_shares_a_bucket(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) is same


def test_a_proxy_is_known_on_a_socket_for_both_families() -> None:
    told = _TrustedHosts(as_told(["198.51.100.7/32", "192.0.2.0/24", "2001:db8::7/128"]))
    assert all(
        one in told for one in ("198.51.100.7", "::ffff:198.51.100.7", "::ffff:192.0.2.9", "2001:db8::7")
    )
    assert not any(one in told for one in ("::ffff:198.51.100.8", "::ffff:192.0.3.9"))


async def test_a_key_that_asks_too_often_is_told_to_wait() -> None:
    api = make_api(rate_limit_per_second=1, rate_limit_burst=3)
    async with api.client() as client, api.client("wl_test_other") as other:
        answers = [await client.get("/customers") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
        last = answers[-1]
        assert last.json()["code"] == "TOO_MANY_REQUESTS"
        assert (last.headers["x-ratelimit-limit"], last.headers["retry-after"]) == ("3", "1")
        assert int(last.headers["x-ratelimit-reset"]) >= int(answers[0].headers["x-ratelimit-reset"]) > 1e9
        assert (await other.get("/customers")).status_code == 200
    assert api.ledger.commands == []


async def test_the_sdk_repeats_what_came_too_often_where_that_is_safe() -> None:
    api = make_api(rate_limit_per_second=1, rate_limit_burst=1)
    async with api.client() as client:
        sdk = {"x-stainless-retry-count": "0"}
        await client.get("/customers")
        answers = [
            await client.get("/customers", headers=sdk),
            await client.post("/customers", json={}, headers=sdk),
            await client.post("/customers", json={}, headers={**sdk, "idempotency-key": "k"}),
            await client.post("/customers", json={}, headers={"x-stainless-retry-count": "1"}),
        ]
    assert [answer.status_code for answer in answers] == [429, 429, 429, 504]
    assert [answer.headers["x-should-retry"] for answer in answers] == ["true", "false", "true", "false"]


async def test_by_default_a_key_has_no_limit(client: httpx.AsyncClient) -> None:
    assert Settings().rate_limit_per_second == 0
    answer = await client.get("/customers")
    assert "x-ratelimit-limit" not in answer.headers


async def test_who_is_refused_too_often_is_not_looked_up_any_more() -> None:
    api = make_api(rate_limit_refused_per_second=1, rate_limit_refused_burst=3)
    async with api.client() as known, api.client("wl_test_guess") as guess, api.client(None) as nobody:
        assert (await known.get("/customers")).status_code == 200
        statuses = [
            (await one.get("/customers")).status_code for one in (guess, nobody, guess, guess, nobody)
        ]
        assert statuses == [401, 401, 401, 429, 429]
        api.keys.clear()
        answer = await guess.get("/customers")
        assert (answer.headers["retry-after"], answer.headers["x-ratelimit-remaining"]) == ("1", "0")
        assert (await known.get("/customers")).status_code == 200, "a known key at the same address goes on"
        assert (await nobody.get("/livez")).status_code == 200


async def delivered(client: httpx.AsyncClient, endpoint: str = ENDPOINT, **how: Any) -> int:
    path = f"/webhooks/payments/{endpoint}"
    return (await client.post(path, content=b"{}", headers=signed(b"{}", **how))).status_code


async def test_guessing_at_webhooks_is_limited() -> None:
    """What is no endpoint counts together: ids cost nothing to invent."""
    api = make_api(rate_limit_refused_per_second=1, rate_limit_refused_burst=2)
    async with api.client(None) as client:
        assert [await delivered(client, identifier=f"m{number}") for number in range(5)] == [200] * 5
        guesses = [await delivered(client, f"whk_{number:020}") for number in range(1, 5)]
        assert guesses == [404, 404, 429, 429]
        assert await delivered(client, SECOND) == 429, "nothing is looked up any more"
        assert await delivered(client) == 200


async def test_an_endpoint_that_is_set_up_wrong_shuts_out_no_other() -> None:
    """Upstream delivers for all businesses from few addresses."""
    api = make_api(rate_limit_refused_per_second=1, rate_limit_refused_burst=2)
    api.endpoints.second = api.endpoints.opening
    async with api.client(None) as client:
        wrong = [await delivered(client, secret=OTHER_SECRET) for _ in range(4)]
        assert wrong == [401, 401, 429, 429]
        assert await delivered(client) == 429
        assert await delivered(client, SECOND) == 200
        assert await delivered(client, "whk_unknown") == 404


async def test_a_body_that_is_too_large_is_no_guess(api: Api) -> None:
    api = make_api(rate_limit_refused_per_second=1, rate_limit_refused_burst=1, body_bytes_max=1024)
    async with api.client(None) as client:
        for _ in range(3):
            headers = signed(b"{}") | {"content-length": "9999"}
            answer = await client.post(f"/webhooks/payments/{ENDPOINT}", content=b"{}", headers=headers)
            assert answer.status_code == 413
