"""More refunds than payments can give back, asked and asked again from many clients while upstream answers: exact counts."""

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

import aiohttp

from services.api.keys import create_key
from tests.proof.answering import Answering, Heard, Payment
from tests.running import System

CLIENTS = 64
PAYMENTS = 16
TRIES_OF_A_KEY = 5
KEYS_AT_ONCE = 4
KEYLESS_OFTEN = 0.1
TO_WALLET_OFTEN = 0.1
AMOUNT_MAX = 100
PARTS_OF_WHAT_IS_ASKED = 20
BUSINESS = "biz_refunds"
SECONDS_MAX = 30.0
POLL_SECONDS = 0.05
DONE = "400 PAYMENT_ALREADY_REFUNDED"
BUSY = "400 EXISTING_REFUND_REQUEST_PROCESSING"
ALLOWED = frozenset({"200", DONE, BUSY, "400 REFUND_AMOUNT_EXCEEDS_PAID_AMOUNT"})


class Ask(NamedTuple):
    """A refund of a part; without an amount, of all that is left. Key None: the caller sent none."""

    payment: Payment
    key: str | None
    amount: int | None
    to_wallet: bool = False
    attempt: int = 0


@dataclass
class Refunded:
    """What came of it. `broken`: what must not have happened, in words."""

    payments: dict[str, Payment]
    requests: int = 0
    seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    outcomes: defaultdict[str, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    by_upstream: dict[str, tuple[str, int]] = field(default_factory=dict)
    to_wallet: dict[str, tuple[str, int]] = field(default_factory=dict)
    failed: int = 0
    broken: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """For a person."""
        counts = ", ".join(f"{count:,} {status}" for status, count in sorted(self.statuses.items()))
        made = f"{len(self.by_upstream)} asked of upstream ({self.failed} failed there), {len(self.to_wallet)} to wallets"
        return (
            f"{self.requests:,} requests under {len(self.outcomes):,} keys for refunds of {len(self.payments)} payments, "
            f"{self.requests / self.seconds:,.0f}/s: {counts}; {made}"
        )


async def race(system: System, url: str, seed: int, retries: int) -> Refunded:
    """Of each payment a small part of what is asked can be given back."""
    business = f"{BUSINESS}_{seed}"
    asks = plan(seed, retries)
    paid = {ask.payment.name: ask.payment for ask in asks}
    refunded = Refunded(paid)
    dsn = system.settings.views_dsn.get_secret_value()
    _, secret = create_key(dsn, business, "test", "refunds", ["read", "write", "refund"])
    headers = {"authorization": f"Bearer {secret}", "prefer": "respond-async"}
    timeout = aiohttp.ClientTimeout(total=SECONDS_MAX)
    connector = aiohttp.TCPConnector(limit=CLIENTS)
    async with (
        aiohttp.ClientSession(url, headers=headers, timeout=timeout, connector=connector) as session,
        Answering(system.kafka.bootstrap, system.settings.shards, business, seed) as upstream,
    ):
        await upstream.pay(list(paid.values()))
        await asyncio.gather(*(_known(session, payment) for payment in paid.values()))
        left = iter(asks)
        began = time.monotonic()
        await asyncio.gather(*(_client(session, left, refunded) for _ in range(CLIENTS)))
        refunded.seconds = time.monotonic() - began
        await asyncio.gather(*(_rest(session, payment, refunded) for payment in paid.values()))
        with suppress(TimeoutError):  # then the judge finds what is missing
            await asyncio.wait_for(upstream.all_heard(refunded.by_upstream), SECONDS_MAX)
        judge(refunded, upstream.heard)
        await asyncio.gather(
            *(_shown(session, payment, refunded, upstream.heard) for payment in paid.values())
        )
    return refunded


def plan(seed: int, retries: int) -> list[Ask]:
    """A key is asked about again close to its first time; keys of all payments are mixed."""
    draw = random.Random(seed)
    each = max(1, retries // PAYMENTS)
    keys = each // TRIES_OF_A_KEY + 1
    asks = []
    for number in range(PAYMENTS):
        sizes = [draw.randint(1, AMOUNT_MAX) for _ in range(keys + KEYS_AT_ONCE)]
        payment = Payment(
            f"pay_{number}", f"cus_{number // 2}", max(AMOUNT_MAX // 2, sum(sizes) // PARTS_OF_WHAT_IS_ASKED)
        )
        to_wallet = [draw.random() < TO_WALLET_OFTEN for _ in sizes]
        for step in range(each):
            one = step // TRIES_OF_A_KEY + draw.randrange(KEYS_AT_ONCE)
            key = None if draw.random() < KEYLESS_OFTEN else f"{payment.name} {one}"
            ask = Ask(payment, key, sizes[one], to_wallet[one], draw.randrange(3))
            asks.append((step + draw.random(), ask))
    return [ask for _, ask in sorted(asks, key=lambda one: one[0])]


async def _known(session: aiohttp.ClientSession, payment: Payment) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            async with session.get(f"/payments/{payment.name}") as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(POLL_SECONDS)


async def _client(session: aiohttp.ClientSession, asks: Iterator[Ask], refunded: Refunded) -> None:
    for ask in asks:
        await _asked(session, ask, refunded)


async def _asked(session: aiohttp.ClientSession, ask: Ask, refunded: Refunded) -> str:
    """Status, with the code where there is one."""
    body: dict[str, Any] = {"payment_id": ask.payment.name}
    if ask.to_wallet:
        body["amount"] = ask.amount
    elif ask.amount is not None:
        body["items"] = [{"item_id": ask.payment.name, "amount": ask.amount, "tax_inclusive": True}]
    headers = {"x-stainless-retry-count": str(ask.attempt)}
    if ask.key is not None:
        headers["idempotency-key"] = ask.key
    path = "/v1/refunds/to-wallet" if ask.to_wallet else "/refunds"
    async with session.post(path, json=body, headers=headers) as answer:
        said = await answer.json()
        status = f"{answer.status} {said.get('code', '')}".strip()
    refunded.requests += 1
    refunded.statuses[status] += 1
    if ask.key is not None and status[0] != "5":  # which is none: it says to ask again
        refunded.outcomes[ask.key].add((status, said.get("refund_id", "")))
    if status == "200":
        made = refunded.to_wallet if ask.to_wallet else refunded.by_upstream
        made[said["refund_id"]] = (ask.payment.name, said["amount"])
    return status


async def _rest(session: aiohttp.ClientSession, payment: Payment, refunded: Refunded) -> None:
    """Nothing is left of it in the end: what no refund took, or a failed one gave back, is asked for."""
    try:
        async with asyncio.timeout(2 * SECONDS_MAX):
            for number in count():
                status = await _asked(session, Ask(payment, f"{payment.name} rest {number}", None), refunded)
                if status == DONE or status not in ALLOWED:
                    return
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        refunded.broken.append(f"{payment.name} does not come to its end")


def judge(refunded: Refunded, heard: Heard) -> None:
    """What was answered against what upstream was asked for and what was paid."""
    refunded.failed = len(heard.failed)
    broken = refunded.broken
    if others := refunded.statuses.keys() - ALLOWED:
        broken.append(f"answers {sorted(others)}")
    broken += [f"{key} has outcomes {sorted(of)}" for key, of in refunded.outcomes.items() if len(of) > 1]
    if heard.asked != refunded.by_upstream:
        differing = sorted({*heard.asked.items()} ^ {*refunded.by_upstream.items()})
        broken.append(f"answered and asked of upstream differ: {differing}")
    broken += [
        f"{request} was published as {sorted(ids)}" for request, ids in heard.ids.items() if len(ids) > 1
    ]
    given: Counter[str] = Counter()
    for name, amount in [*refunded.to_wallet.values(), *heard.given.values()]:
        given[name] += amount
    for payment in refunded.payments.values():
        if given[payment.name] != payment.total:
            broken.append(f"{payment.name}: {given[payment.name]} of {payment.total} was given back")


async def _shown(session: aiohttp.ClientSession, payment: Payment, refunded: Refunded, heard: Heard) -> None:
    """The read models come to the same."""
    wanted = {name: amount for name, (of, amount) in refunded.to_wallet.items() if of == payment.name}
    wanted |= {name: amount for name, (of, amount) in heard.given.items() if of == payment.name}
    found: dict[str, int] = {}
    try:
        async with asyncio.timeout(SECONDS_MAX):
            while found != wanted:
                await asyncio.sleep(POLL_SECONDS)
                async with session.get(f"/payments/{payment.name}") as answer:
                    refunds = (await answer.json())["refunds"]
                found = {one["refund_id"]: one["amount"] for one in refunds if one["status"] == "succeeded"}
    except TimeoutError:
        refunded.broken.append(f"{payment.name} shows {found}, not {wanted}")
