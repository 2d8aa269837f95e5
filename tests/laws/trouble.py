"""Processes that die from a seed while a story of commands goes by."""

import asyncio
import random
from typing import NamedTuple
from uuid import UUID

from events.commands import AnyAsk, EnterInBulk
from services.ledger.domain.states import State
from tests.fakes.broker import PublishFailed
from tests.fakes.gate import Killed, Phase
from tests.fakes.simulation import until
from tests.fakes.store import SessionLost
from tests.fakes.world import Node, World

CRASHES_MAX = 12
LATE_OFTEN = 0.02
"""How often a batch that was given up arrives after all."""
CALLS = ("open", "claim", "peers", "release", "leave", "heartbeat", "load", "histories", "keep", "commit", "commit",
         "commit", "events_after", "publish", "publish", "publish", "events_from", "renew_publisher", "fetch",
         "dead_letter", "commands_at")  # fmt: skip
"""Where it happens: most often where it hurts."""

KAFKA = {"publish", "renew_publisher", "events_from", "fetch", "dead_letter", "commands_at"}
Customers = dict[UUID, State]


class Step(NamedTuple):
    """A command, or a bulk record with its customer first, and how long after the one before it, in milliseconds."""

    customer: str
    ask: AnyAsk | EnterInBulk
    key: str | None
    attempt: int
    pause_ms: int


class Trouble:
    """What happens to the processes, from a seed: each place may fail, cut the session, or be the last."""

    def __init__(self, seed: int, often: float) -> None:
        self._random = random.Random(seed)
        self._often = often
        self.crashes = 0
        self.log: list[str] = []

    def on_pass(self, node: Node, call: str, phase: Phase) -> None:
        if self._random.random() < LATE_OFTEN:
            node.broker.kafka.deliver_late()
        if self.crashes >= CRASHES_MAX or call not in CALLS or self._random.random() > self._often:
            return
        self.crashes += 1
        kind = self._random.choice(["kill", "kill", "cut", "fail"])
        self.log.append(f"{kind} {phase} {call}")
        if kind == "kill":
            node.kill()
            raise Killed
        if call in KAFKA:
            raise PublishFailed(call)
        if kind == "cut":
            node.store.database.end(node.store)
        raise SessionLost(call)


async def supervise(world: World, trouble: Trouble, done: asyncio.Event) -> Customers:
    """Start a process after each that ended, until nothing is left to do; what the last one had in memory."""
    while True:
        node = Node(world)
        node.gate.on_pass = lambda call, phase, node=node: trouble.on_pass(node, call, phase)
        stopping = asyncio.ensure_future(done.wait())
        await asyncio.wait({node.task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if done.is_set() and not node.task.done():
            cache = node.worker._decisions.cache
            live = {
                stream: customer for stream in [*cache._packed] if (customer := cache.get(stream)) is not None
            }
            node.worker.stop()
            node.gate.on_pass = None
            if await node.end() is None:
                return live
        error = await node.end()  # also of one whose session was cut just before it was told to stop
        assert isinstance(error, Killed | PublishFailed | SessionLost | asyncio.CancelledError), error
        await asyncio.sleep(0.05)


async def live_through(world: World, story: list[Step], trouble: Trouble, processes: int = 1) -> Customers:
    """What the last processes had in memory when every command was taken and every event published."""
    done = asyncio.Event()
    supervisors = [asyncio.create_task(supervise(world, trouble, done)) for _ in range(processes)]
    for step in story:
        await asyncio.sleep(step.pause_ms / 1_000)
        world.send(step.customer, step.ask, key=step.key, attempt=step.attempt)
    settled = asyncio.create_task(until(world.settled, 300))
    await asyncio.wait({settled, *supervisors}, return_when=asyncio.FIRST_COMPLETED)
    for supervisor in supervisors:
        if supervisor.done():
            supervisor.result()
    settled.result()
    done.set()
    lives = await asyncio.gather(*supervisors)
    return {stream: customer for live in lives for stream, customer in live.items()}
