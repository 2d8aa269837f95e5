"""The sample from beginning to end: register, upstream, merchant, block, read back."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple, TypeVar

import stamina
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from events.ids import Tenant, parse_position, position
from events.replies import Outcome, Reply
from events.sharding import shard_of
from services.console.mistakes import found
from services.sample.api import CONNECTIONS, Api, unexpected
from services.sample.plan import Move, Story, stories
from services.sample.report import ENTRIES_SHOWN, Report
from services.sample.upstream import Asked, Upstream
from services.settings import Settings

SHOWN = 4
"""The customer whose entries are shown: one who was refused, too."""

Step = Callable[[], None]
Item = TypeVar("Item")


class Customer(NamedTuple):
    """A story and the customer that the API made for it."""

    story: Story
    customer_id: str
    name: str


def run(settings: Settings, base_url: str, api_key: str, *, as_json: bool) -> Report:
    """Feed the business and print what happened.

    Raises:
        Mistake: a server does not answer, or not as it must.
    """
    base_url, api_key = base_url or found(settings, "base_url"), api_key or found(settings, "api_key")
    if not settings.kafka_bootstrap:
        settings = settings.model_copy(update={"kafka_bootstrap": found(settings, "kafka")})
    stamina.instrumentation.set_on_retry_hooks([])  # what failed for good is said once, at the end
    report = asyncio.run(feed(settings, base_url, api_key, Console(stderr=True)))
    if as_json:
        print(report.as_json())
    else:
        report.show(Console())
    return report


async def feed(settings: Settings, base_url: str, api_key: str, console: Console) -> Report:
    """See `run`; progress goes to `console`."""
    columns = (TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        async with Api(base_url, api_key) as api:
            return await Feeder(settings, api, api_key, progress).feed(stories())


class Feeder:
    """One run; counts answers."""

    def __init__(self, settings: Settings, api: Api, api_key: str, progress: Progress) -> None:
        self._settings = settings
        self._api = api
        self._mode = "live" if api_key.startswith("wl_live_") else "test"
        self._progress = progress
        self._positions: dict[int, int] = {}
        self._business = ""
        self._report = Report()

    async def feed(self, told: list[Story]) -> Report:
        """All steps, in the order in which they must come."""
        started = time.monotonic()
        await self._api.greet()
        customers = await self._register(told)
        await self._upstream(customers)
        await self._merchant(customers)
        await self._block([customer for customer in customers if customer.story.blocked])
        await self._read_back(customers)
        self._report.seconds = round(time.monotonic() - started, 2)
        return self._report

    async def _register(self, told: list[Story]) -> list[Customer]:
        made: list[Customer] = []
        step = self._step("customers, by POST /customers", len(told))

        async def register(story: Story) -> None:
            answer = await self._api.post("/customers", story.person._asdict(), story.key)
            if answer.status != 200:
                raise unexpected("POST /customers", answer)
            self._business = answer.body["business_id"]
            made.append(Customer(story, answer.body["customer_id"], answer.body["name"]))
            self._saw(answer.position)
            step()

        await _each(told, register)
        self._report.customers = len({customer.customer_id for customer in made})
        return sorted(made, key=lambda customer: customer.story.key)

    async def _upstream(self, customers: list[Customer]) -> None:
        asked = [Asked(c.customer_id, move) for c in customers for move in c.story.upstream]
        step = self._step("payments, by commands on ledger.commands", len(asked))

        def heard(_: Asked, reply: Reply) -> None:
            self._count(applied=reply.outcome is Outcome.APPLIED)
            self._report.replayed += reply.replayed
            self._saw(reply.position)
            step()

        await Upstream(self._settings, Tenant(self._business, self._mode)).send(asked, heard)

    async def _merchant(self, customers: list[Customer]) -> None:
        total = sum(len(customer.story.merchant) for customer in customers)
        step = self._step("entries of the merchant, by POST …/ledger-entries", total)

        async def tell(customer: Customer) -> None:
            for move in customer.story.merchant:
                await self._enter(customer.customer_id, move)
                step()

        await _each(customers, tell)

    async def _enter(self, customer_id: str, move: Move) -> None:
        body = {
            "currency": move.currency,
            "amount": move.amount,
            "entry_type": "credit" if move.is_credit else "debit",
            "reason": move.reason,
        }
        path = f"/customers/{customer_id}/wallets/ledger-entries"
        answer = await self._api.post(path, body, move.key)
        refused = answer.status == 400 and answer.body.get("code") == "INSUFFICIENT_WALLET_FUNDS"
        if not refused and answer.status != 200:
            raise unexpected(f"POST …/ledger-entries with key {move.key}", answer)
        self._count(applied=not refused)
        self._saw(answer.position)

    async def _block(self, customers: list[Customer]) -> None:
        step = self._step("blocked customers, by POST /blocklist/customers", len(customers))

        async def block(customer: Customer) -> None:
            body = {"customer_id": customer.customer_id, "reason": customer.story.blocked}
            answer = await self._api.post("/blocklist/customers", body, f"{customer.story.key}/block")
            if answer.status != 200:
                raise unexpected("POST /blocklist/customers", answer)
            self._saw(answer.position)
            self._report.blocked += 1
            step()

        await _each(customers, block)

    async def _read_back(self, customers: list[Customer]) -> None:
        step = self._step("wallets read back, by GET …/wallets", len(customers))
        totals: Counter[str] = Counter()

        async def read(customer: Customer) -> None:
            path = f"/customers/{customer.customer_id}/wallets"
            answer = await self._api.get(path, self._position(customer))
            if answer.status != 200:
                raise unexpected("GET …/wallets", answer)
            totals.update({wallet["currency"]: wallet["balance"] for wallet in answer.body["items"]})
            step()

        await _each(customers, read)
        self._report.balances = dict(sorted(totals.items(), reverse=True))
        shown = customers[SHOWN - 1]
        path = f"/customers/{shown.customer_id}/wallets/ledger-entries"
        answer = await self._api.get(path, self._position(shown), page_size=ENTRIES_SHOWN)
        if answer.status != 200:
            raise unexpected("GET …/ledger-entries", answer)
        self._report.customer = {"customer_id": shown.customer_id, "name": shown.name}
        self._report.last_entries = answer.body["items"]

    def _count(self, *, applied: bool) -> None:
        self._report.entries += applied
        self._report.refusals += not applied

    def _saw(self, position: str) -> None:
        """Remember how far each shard is, to read at least that."""
        if position:
            shard, sequence = parse_position(position)
            self._positions[shard] = max(sequence, self._positions.get(shard, 0))

    def _position(self, customer: Customer) -> str:
        shard = shard_of(customer.customer_id, self._settings.shards)
        return position(shard, self._positions[shard]) if shard in self._positions else ""

    def _step(self, description: str, total: int) -> Step:
        """A line of the progress display, and how to move it by one."""
        task = self._progress.add_task(description, total=total)
        return lambda: self._progress.advance(task)


async def _each(items: Iterable[Item], work: Callable[[Item], Awaitable[None]]) -> None:
    """Work on all, as many at a time as there are connections; the first failure ends the rest."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(worker())
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from failures
