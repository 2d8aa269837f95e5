"""What happens in a history, drawn from its seed: who asks what when, and which trouble comes at which await point."""

import inspect
import random
from collections.abc import Iterator
from typing import NamedTuple

from events.commands import (
    BlockCustomer,
    ChangeProfile,
    CloseCustomer,
    CreditWallet,
    CustomerAsk,
    DebitWallet,
    EraseCustomer,
    RegisterCustomer,
    UnblockCustomer,
)
from events.money import AMOUNT_MAX
from services.ledger.ports import Broker, Store

CUSTOMERS = ("cus_a", "cus_b", "cus_c", "cus_d")
KEYS = ("k1", "k2", "k3")

OUTSIDE = ("sessions ended", "commands truncated", "delivered again", "power lost", "restored", "clock jumps",
           "worker stopped")  # fmt: skip
"""What befalls the installation, not one call; it comes while some call is under way."""
UNGATED = {"close", "reply", "assign", "events_from"}
"""Of the ports: calls that cannot fail, or are dealt with below."""
VIEWS = ("connect", "read_checkpoints", "read_breaks", "begin", "move", "insert_customers", "update_customers",
         "insert_blocks", "update_blocks", "forget_early", "forget_blocks", "forget_reasons", "forget_objects",
         "upsert_wallets", "insert_entries", "add_accounts", "add_tallies", "notify", "commit")  # fmt: skip
VIEWS_ALONE = ("read_checkpoints", "read_breaks", "forget_early", "commit")
"""Statements that have an effect, or an answer, of their own."""


class Cell(NamedTuple):
    """A square of the board: at this await point, this fault."""

    process: str
    call: str
    phase: str
    fault: str

    def __str__(self) -> str:
        return f"{self.process}: {self.fault} {self.phase} {self.call}"


class Fault(NamedTuple):
    """The `nth` time that any process passes the cell's await point."""

    cell: Cell
    nth: int


class Step(NamedTuple):
    """A request after a pause; `ask` None: read what the read models say."""

    pause_ms: int
    customer: str
    ask: CustomerAsk | None
    key: str | None
    api: int


class Plan(NamedTuple):
    """A history is what follows from it, and from nothing else."""

    seed: int
    workers: int
    apis: int
    projections: int
    acknowledge_topic: bool
    garbage: bool
    stories: tuple[tuple[Step, ...], ...]
    faults: tuple[Fault, ...]


def board() -> list[Cell]:
    """Every await point with every fault that can befall it there. The ports themselves say which calls there are."""
    return [*_worker_cells(), *_api_cells(), *_projections_cells(), *_outside_cells()]


def _worker_cells() -> Iterator[Cell]:
    for call in _awaited(Store):
        yield from _all(
            "worker", call, ("before", "after"), ("crash", "freeze", "connection lost", "lock lost")
        )
    yield from _all("worker", "commit", ("during",), ("crash", "connection lost"))
    for call in _awaited(Broker):
        yield from _all("worker", call, ("before", "after"), ("crash", "freeze", "fail"))
    yield from _all("worker", "events_from", ("before", "after"), ("crash", "freeze", "fail"))
    for call in ("data_keys", "destroy_keys"):
        yield from _all("worker", call, ("before", "after"), ("crash", "freeze", "fail"))
    yield from _all("worker", "publish", ("before",), ("lose", "late"))
    yield from _all("worker", "reply", ("before",), ("crash", "lose", "late", "twice"))


def _api_cells() -> Iterator[Cell]:
    yield from _all("api", "send", ("before",), ("crash", "freeze", "fail"))
    yield from _all("api", "send", ("after",), ("crash", "freeze"))
    yield from _all("api", "deliver", ("before",), ("lose", "late", "twice"))
    yield from _all("api", "read_replies", ("before",), ("crash", "freeze", "fail"))
    yield from _all("api", "read_replies", ("after",), ("crash", "freeze"))
    yield from _all("api", "metadata", ("before",), ("crash", "freeze", "fail"))


def _projections_cells() -> Iterator[Cell]:
    yield from _all("projections", "consume", ("before",), ("crash", "freeze", "again"))
    yield from _all("projections", "consume", ("after",), ("crash", "freeze"))
    for statement in VIEWS:
        phases = ("before", "after") if statement in VIEWS_ALONE else ("before",)
        yield from _all("projections", f"views_{statement}", phases, ("crash", "cut"))


def _outside_cells() -> Iterator[Cell]:
    for fault in OUTSIDE:
        yield Cell("installation", "commit", "after", fault)


def _awaited(port: type) -> list[str]:
    """Names of a port's calls that wait for an answer. `open` of a broker is `broker_open`, for its store has one."""
    found = [name for name, call in vars(port).items() if inspect.iscoroutinefunction(call)]
    names = [name for name in found if name not in UNGATED]
    return ["broker_open" if port is Broker and name == "open" else name for name in names]


def _all(process: str, call: str, phases: tuple[str, ...], faults: tuple[str, ...]) -> Iterator[Cell]:
    for phase in phases:
        for fault in faults:
            yield Cell(process, call, phase, fault)


BOARD = board()
OFTEN = {"commit": 12, "fetch": 60, "heartbeat": 12, "reply": 20, "publish": 12, "send": 25, "deliver": 25,
         "read_replies": 25, "metadata": 20, "consume": 40, "load": 12, "views_commit": 10, "views_begin": 10,
         "views_move": 10, "views_notify": 10, "views_insert_entries": 8, "views_upsert_wallets": 8,
         "views_add_accounts": 8, "claim": 8, "events_from": 6, "peers": 12}  # fmt: skip
"""About how many times a history without trouble passes there; where it is not said: once or twice."""
RARE = {"keep", "views_insert_blocks", "views_update_blocks"}
"""Calls that few stories come to by themselves."""
HELPERS = {
    "renew_publisher": Cell("worker", "publish", "after", "fail"),
    "events_from": Cell("worker", "publish", "before", "late"),
    "events_after": Cell("worker", "publish", "after", "fail"),
    "commands_at": Cell("worker", "commit", "after", "crash"),
    "leave": Cell("installation", "commit", "after", "worker stopped"),
    "release": Cell("installation", "commit", "after", "worker stopped"),
}
"""Trouble without which the first is never met."""


FAREWELL = tuple(
    Step(40, "cus_e", ask, None, 0)
    for ask in (RegisterCustomer(name="Hồ", email="ho@example.com"), CloseCustomer(), EraseCustomer())
)
"""Somebody who is erased for sure: his wallets are empty."""


def plan(seed: int) -> Plan:
    """Each history is aimed at one square of the board, in turn, and meets others by chance."""
    draw = random.Random(f"plan {seed}")
    aim = BOARD[seed % len(BOARD)]
    cells = [aim, *draw.choices(BOARD, k=draw.choice((0, 1, 1, 2, 2, 3, 4, 6)))]
    cells += [HELPERS[cell.call] for cell in cells if cell.call in HELPERS]
    restored = any(cell.fault == "restored" for cell in cells)
    if (
        restored
    ):  # a store and a topic that both lost something are the loss of all copies, which nothing survives
        cells = [cell for cell in cells if cell.fault != "power lost"]
    faults = {_placed(draw, cell) for cell in cells}
    stories = tuple(_story(draw, client) for client in range(draw.choice((2, 3, 4))))
    if any(cell.call in RARE for cell in cells):
        stories = (*stories[:-1], (*stories[-1], *_detour(CUSTOMERS[len(stories) - 1])))
    if any(cell.call == "destroy_keys" or cell.call.startswith("views_forget") for cell in cells):
        stories = (*stories[:-1], (*stories[-1], *FAREWELL))
    return Plan(
        seed=seed,
        workers=draw.choice((1, 2, 2, 3)),
        apis=draw.choice((1, 2)),
        projections=draw.choice((1, 1, 2)),
        acknowledge_topic=restored or draw.random() < 0.25,
        garbage=draw.random() < 0.1 or any(cell.call == "dead_letter" for cell in cells),
        stories=stories,
        faults=tuple(sorted(faults)),
    )


def _placed(draw: random.Random, cell: Cell) -> Fault:
    return Fault(cell, draw.randint(1, OFTEN.get(cell.call, 2)))


def _story(draw: random.Random, client: int) -> tuple[Step, ...]:
    """Whoever comes first registers a customer of his own; then all ask for all."""
    own = CUSTOMERS[client]
    first = Step(0, own, RegisterCustomer(name="Lê", email="le@example.com"), f"register {client}", 0)
    opening = Step(draw.choice((0, 5)), own, CreditWallet(currency="USD", amount=10), f"open {client}", 0)
    return (first, opening, *(_step(draw) for _ in range(draw.randint(3, 9))))


def _detour(customer: str) -> tuple[Step, ...]:
    """Events far enough apart that each is a transaction of its own, and time for a heartbeat after them."""
    asks = (BlockCustomer(), UnblockCustomer(), CreditWallet(currency="USD", amount=1))
    return tuple(Step(1_200, customer, ask, None, 0) for ask in asks)


def _step(draw: random.Random) -> Step:
    pause = draw.choice((0, 0, 1, 3, 10, 40, 300))
    key = draw.choice((None, *KEYS, *(f"n{draw.randrange(10**6)}" for _ in range(4))))
    ask = None if draw.random() < 0.15 else _ask(draw)
    return Step(pause, draw.choice(CUSTOMERS[:3]), ask, key, draw.randrange(2))


def _ask(draw: random.Random) -> CustomerAsk:
    chance = draw.random()
    if chance < 0.08:
        return RegisterCustomer(name="Trần", email="tran@example.com", metadata={"plan": "ngựa 🐎"})
    if chance < 0.16:
        return draw.choice((ChangeProfile(name="D"), ChangeProfile(phone_number=None), ChangeProfile()))
    if chance < 0.22:
        return draw.choice(
            (
                BlockCustomer(),
                BlockCustomer(),
                UnblockCustomer(),
                UnblockCustomer(),
                CloseCustomer(),
                EraseCustomer(),
            )
        )
    currency = draw.choice(("USD", "USD", "USD", "USD", "INR", "EUR"))
    amount = draw.choice((1, 2, 3, 4, 5, 6, 7, 8, 9, AMOUNT_MAX))
    return draw.choice((CreditWallet, DebitWallet, DebitWallet))(currency=currency, amount=amount)
