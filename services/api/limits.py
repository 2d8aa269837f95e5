"""How often a key may ask, and how often somebody without one may be refused. For each process by itself.

A bucket is one number, the moment when it will be full again (GCRA). The library `limits` counts windows and costs 8 to
12 us a request with what the headers need; this costs less than 4, and 0.1 where there is no limit.
"""

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from time import monotonic, time
from typing import NamedTuple

from services.api import metrics
from services.api.call import Call
from services.api.errors import too_many_requests
from services.settings import Settings

BUCKETS_MAX = 10_000
"""Of the least lately used the bucket is forgotten, which is as if it were full."""

IPV6_PREFIX = 64
"""One customer of a provider has as many addresses as are behind it."""


class Level(NamedTuple):
    """A bucket after it was asked. `wait`: seconds until there is a token, 0 if there was one."""

    left: int
    full_in: float
    wait: float


class Buckets:
    """`burst` tokens in each, filled at `per_second`."""

    def __init__(self, per_second: int, burst: int, clock: Callable[[], float] = monotonic) -> None:
        self.burst = burst
        self._seconds = 1 / per_second
        self._depth = burst * self._seconds
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, name: str, tokens: int = 1) -> Level:
        """Nothing is taken where there is not enough; `tokens` 0 only looks whether there is one."""
        now = self._clock()
        full_at = max(self._full_at.get(name, now), now)
        after = full_at + tokens * self._seconds
        missing = full_at + max(tokens, 1) * self._seconds - now - self._depth
        if missing > 1e-9:  # what rounding leaves
            return Level(0, full_at - now, missing)
        if tokens:
            self._full_at[name] = after
            self._full_at.move_to_end(name)
            if len(self._full_at) > BUCKETS_MAX:
                self._full_at.popitem(last=False)
        return Level(int((self._depth - (after - now)) / self._seconds + 1e-6), after - now, 0.0)


class Limits:
    """None: no limit."""

    def __init__(self, keys: Buckets | None = None, strangers: Buckets | None = None) -> None:
        self._keys = keys
        self._strangers = strangers

    def key(self, call: Call, key_id: str) -> None:
        """A request with a live key; its answer will tell what is left.

        Raises:
            ApiError: 429.
        """
        if self._keys is None:
            return
        level = self._keys.take(key_id)
        call.limits = _headers(self._keys.burst, level)
        if level.wait:
            metrics.LIMITED.labels("key").inc()
            raise too_many_requests(math.ceil(level.wait))

    def admit(self, call: Call, door: str = "") -> None:
        """Somebody of whom nothing is known yet, before anything is looked up for him.

        `door`: what is there and counts by itself, of each address.

        Raises:
            ApiError: 429: he was refused too often.
        """
        if self._strangers is None:
            return
        level = self._strangers.take(network_of(call.address) + door, 0)
        if level.wait:
            call.limits = _headers(self._strangers.burst, level)
            metrics.LIMITED.labels("address").inc()
            raise too_many_requests(math.ceil(level.wait))

    def refused(self, call: Call, door: str = "") -> None:
        """He had no live key, or signed with nobody's secret."""
        if self._strangers is not None:
            self._strangers.take(network_of(call.address) + door)


def limits_of(settings: Settings) -> Limits:
    """As configured; 0 a second is no limit."""
    keys = (settings.rate_limit_per_second, settings.rate_limit_burst)
    strangers = (settings.rate_limit_refused_per_second, settings.rate_limit_refused_burst)
    return Limits(*(Buckets(*one) if one[0] else None for one in (keys, strangers)))


def network_of(address: str) -> str:
    """Who shares a bucket: an IPv4 address, also as a socket for both families tells it, or an IPv6 network."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
        return str(found.ipv4_mapped or ipaddress.IPv6Network((found, IPV6_PREFIX), strict=False))
    except ValueError:
        return address


def as_told(networks: Iterable[str]) -> list[str]:
    """Of IPv4 networks also the form in which a socket for both families tells them."""
    known = [ipaddress.ip_network(one) for one in networks]
    mapped = [f"::ffff:{one.network_address}/{one.prefixlen + 96}" for one in known if one.version == 4]
    return [str(one) for one in known] + mapped


def _headers(burst: int, level: Level) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-ratelimit-limit", b"%d" % burst),
        (b"x-ratelimit-remaining", b"%d" % level.left),
        (b"x-ratelimit-reset", b"%d" % math.ceil(time() + level.full_in)),
    ]
