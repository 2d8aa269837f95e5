"""One history: clients that ask, ask again and read, until the plan is over and everything has come to rest."""

import asyncio
import logging
import random
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple
from uuid import UUID

import structlog

from events.commands import CustomerAsk
from events.ids import Tenant, parse_position
from services.api.asking import Written
from services.api.auth import Caller
from services.api.call import Call
from services.api.errors import ApiError
from services.ledger.domain.customer import Customer
from tests.fakes.simulation import Stuck, simulate, until
from tests.proof.installation import Installation
from tests.proof.oracle import Request
from tests.proof.plan import Cell, Plan, Step
from tests.proof.processes import SHARDS, Api, simulated_world

TENANT = Tenant("biz_proof", "test")
CALLER = Caller("key_proof", TENANT, frozenset({"write"}), float("inf"))
PATIENCE_SECONDS = 8.0
TRIES = 5
PAUSE_SECONDS = (0.05, 0.2, 1.0)
CALM_SECONDS_MAX = 200.0
INSIST_TIMES = 100
BACKUP_SECONDS = 0.15
GARBAGE = b"\x00 not a command"


class Answer(NamedTuple):
    """What a client was told. `kind`: applied, refused, key_reused, not_applied, unknown, or failed."""

    kind: str
    code: str = ""
    position: tuple[int, int] = (0, 0)
    replayed: bool = False
    amounts: tuple[Any, Any] = (None, None)


@dataclass
class Operation:
    """One request on its way, from when to when, in the order of everything."""

    name: str
    request: Request
    invoked: int
    returned: int = 0
    answer: Answer = field(default=Answer("unknown"))


class Read(NamedTuple):
    """What the read models said of a customer, all at one moment."""

    customer: str
    shard: int
    sequence: int
    balances: dict[str, int]
    entries: int
    name: str | None


@dataclass
class History:
    """What happened, and what is left."""

    plan: Plan
    town: Installation
    operations: list[Operation] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    memory: dict[tuple[int, UUID], Customer] = field(default_factory=dict)
    ticks: "count[int]" = field(default_factory=lambda: count(1))

    @property
    def fired(self) -> set[Cell]:
        return self.town.fired


def live(plan: Plan) -> History:
    """The history of a plan; the same for the same plan."""
    town = Installation(plan)
    history = History(plan, town)
    before = structlog.get_config()
    structlog.configure([_drop], structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        with simulated_world(town):
            simulate(_live(history))
    except (Stuck, TimeoutError) as stuck:
        town.broken.append(f"it does not come to rest: {stuck or 'a command, an event or a row is missing'}")
    except AssertionError as wrong:
        town.broken.append(f"the topic: {wrong}")
    finally:
        structlog.configure(**before)
    return history


async def _live(history: History) -> None:
    town = history.town
    asyncio.get_running_loop().set_exception_handler(town.note_lost_error)
    town.start()
    if history.plan.garbage:
        for shard in range(SHARDS):
            town.send_bytes(shard, GARBAGE)
    asyncio.get_running_loop().call_later(BACKUP_SECONDS, town.back_up)
    operator = asyncio.create_task(town.operate())
    clients = [_Client(history, number) for number in range(len(history.plan.stories))]
    try:
        async with asyncio.timeout(CALM_SECONDS_MAX):
            await asyncio.gather(*(client.live() for client in clients))
        town.calm = True
        for worker in town.workers:
            worker.clock.ahead_seconds = 0.0
        if town.restored is not None:
            await operator
        async with asyncio.timeout(CALM_SECONDS_MAX):
            await asyncio.gather(*(client.insist() for client in clients))
            await until(lambda: settled(town), CALM_SECONDS_MAX)
        remember(history)
    finally:
        operator.cancel()
        await town.stop()


def settled(town: Installation) -> bool:
    """Every command taken, every event in the topic and in the read models, where shards may be owned."""
    rows = town.database.rows
    return all(
        rows[shard].position >= len(town.kafka.commands[shard]) - 1
        and len(town.topic(shard)) == rows[shard].sequence
        and town.views.checkpoints[shard][0] == len(town.topic(shard))
        for shard in range(SHARDS)
    )


def remember(history: History) -> None:
    """What the workers have in mind of customers whose shards they own; one may have lost some and not know it."""
    town = history.town
    for worker in town.workers:
        rows = worker.worker._ownership.owned
        owned = [shard for shard, row in rows.items() if row.epoch == town.database.rows[shard].epoch]
        cache = worker.worker._decisions.cache
        for stream in [*cache._packed]:
            customer = cache.get(stream)
            assert isinstance(customer, Customer)
            history.memory |= {(shard, stream): customer for shard in owned}


def _drop(*_: Any) -> Any:
    raise structlog.DropEvent


class _Client:
    """Asks one thing after the other; what stays open he asks again at the end."""

    def __init__(self, history: History, number: int) -> None:
        self._history = history
        self._town = history.town
        self._number = number
        self._draw = random.Random(f"client {history.plan.seed} {number}")
        self._numbers = count(1)
        self._open: list[Request] = []

    async def live(self) -> None:
        for step in self._history.plan.stories[self._number]:
            await asyncio.sleep(step.pause_ms / 1_000)
            if step.ask is None:
                self._read(step.customer)
            else:
                await self._ask(step)

    async def insist(self) -> None:
        """With its key, until there is an outcome."""
        for request in self._open:
            for _ in range(INSIST_TIMES):
                if (await self._once(request, 0)).kind not in ("unknown", "not_applied"):
                    break
                await asyncio.sleep(0.5)

    async def _ask(self, step: Step) -> None:
        assert step.ask is not None
        request = Request(str(TENANT), step.customer, step.ask, step.key)
        for tries in range(TRIES):
            answer = await self._once(request._replace(tries=tries), step.api + tries)
            if answer.kind not in ("unknown", "not_applied"):
                return
            if step.key is None and answer.kind == "unknown" and answer.code == "OUTCOME_UNKNOWN":
                return  # the SDK does not repeat it either
            await asyncio.sleep(self._draw.choice(PAUSE_SECONDS))
        if step.key is not None:
            self._open.append(request)

    async def _once(self, request: Request, api: int) -> Answer:
        ready = [api for api in self._town.apis if api.ready and not api.gate.dead]
        if not ready:
            return Answer("not_applied", "nobody is there")
        history = self._history
        operation = Operation(f"c{self._number}_{next(self._numbers)}", request, invoked=next(history.ticks))
        history.operations.append(operation)
        operation.answer = await _asked(ready[api % len(ready)], operation)
        operation.returned = next(history.ticks)
        self._town.fingerprint.update(f"{operation.name} {operation.answer}\n".encode())
        return operation.answer

    def _read(self, customer: str) -> None:
        town, shard = self._town, self._town.shard(customer)
        views = town.views
        mine = (TENANT.business_id, TENANT.mode, customer)
        known = views.customers.get(mine)
        read = Read(
            customer,
            shard,
            views.checkpoints[shard][0],
            {key[3]: row["balance_minor"] for key, row in views.wallets.items() if key[:3] == mine},
            sum(row["customer_id"] == customer for row in views.entries.values()),
            known["name"] if known else None,
        )
        self._history.reads.append(read)


async def _asked(api: Api, operation: Operation) -> Answer:
    """Through the routes' way of asking; patience is the client's own."""
    request = operation.request
    headers = [(b"x-request-id", operation.name.encode()), (b"prefer", b"respond-async"),
               (b"x-stainless-retry-count", str(request.tries).encode())]  # fmt: skip
    call = Call({"headers": headers, "query_string": b""}, None, 0)  # type: ignore[typeddict-item, arg-type]
    assert isinstance(request.ask, CustomerAsk)
    task = api.run(api.asking.write(call, CALLER, request.customer, request.ask, request.key))
    task.add_done_callback(lambda task: task.cancelled() or task.exception())  # perhaps nobody waits any more
    await asyncio.wait({task}, timeout=PATIENCE_SECONDS)
    if not task.done() or task.cancelled():
        return Answer("unknown", "connection lost")
    error = task.exception()
    if error is None:
        return _applied(task.result())
    return _not_applied(error) if isinstance(error, ApiError) else Answer("unknown", "connection lost")


def _applied(written: Written) -> Answer:
    reply = written.reply
    amounts = (reply.balance_before, reply.balance_after) if reply.currency else (None, None)
    return Answer("applied", "", parse_position(reply.position), reply.replayed, amounts)


def _not_applied(error: ApiError) -> Answer:
    if "ledger-position" in error.headers:
        return Answer("refused", error.code, parse_position(error.headers["ledger-position"]))
    kinds = {503: "not_applied", 504: "unknown", 409: "key_reused"}
    return Answer(kinds.get(error.status, "failed"), error.code)
