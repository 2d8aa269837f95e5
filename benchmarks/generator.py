"""The load generator: `python -m benchmarks.generator < plan > outcome`.

It shares two cores with what it measures, so it does as little as possible: requests are glued from
ready-made pieces, answers are looked at for their status, length and two headers. Over a whole run it
must use far less than one core (the report shows how much), else it measures itself.
"""

import asyncio
import gc
import os
import random
import resource
import sys
from collections import Counter
from time import perf_counter
from typing import Any, cast

import msgspec
import uvloop

from benchmarks.load import BODIES, CHOICES, Latency, Outcome, Plan, bodies, is_overdraft, key_of

PATIENCE_SECONDS = 10.0
_LENGTH = b"content-length: "
_POSITION = b"ledger-position: "
_STALE = b"ledger-applied: false"


class Requests:
    """The bytes of request `number`."""

    def __init__(self, plan: Plan) -> None:
        chance = random.Random(2)
        self._writes = plan.method == "POST"
        self._key = key_of(plan.run, 0)[:-10].encode() + b"%010d"
        heads = [self._head(plan, customer) for customer in plan.customers]
        self._heads = [chance.choice(heads) for _ in range(CHOICES)]
        self._tails = [b"\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body) for body in bodies()]

    def _head(self, plan: Plan, customer: str) -> bytes:
        lines = [
            f"{plan.method} {plan.path.format(customer=customer)} HTTP/1.1",
            "host: 127.0.0.1",
            f"authorization: Bearer {plan.api_key}",
        ]
        if not self._writes:
            return "\r\n".join([*lines, "", ""]).encode()
        if plan.respond_async:
            lines.append("prefer: respond-async")
        return "\r\n".join([*lines, "content-type: application/json", "idempotency-key: "]).encode()

    def make(self, number: int) -> bytes:
        head = self._heads[number % CHOICES]
        if not self._writes:
            return head
        return head + self._key % number + self._tails[number % BODIES]


class Load:
    """What all clients share."""

    def __init__(self, plan: Plan) -> None:
        self.make = Requests(plan).make
        self.next = 0
        self.active = plan.clients
        self.broken = 0
        self.stale = 0
        self.answers: Counter[bytes] = Counter()
        self.latencies: list[float] = []
        self.acknowledged: list[tuple[int, bytes]] = []
        self.begin = perf_counter() + plan.warmup_seconds
        self.end = self.begin + plan.seconds
        self._interval = 1 / plan.per_second if plan.per_second else 0.0
        self._due = perf_counter()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answered(self, number: int, sent: float, now: float, answer: bytes) -> None:
        status = answer[9:12]
        if status == b"200":
            at = answer.find(_POSITION)
            position = answer[at + len(_POSITION) : answer.find(b"\r", at)] if at > 0 else b""
            self.acknowledged.append((number, position))
        if self.begin <= now < self.end:
            self.answers[status] += 1
            if status == b"200":
                self.latencies.append(now - sent)
                if _STALE in answer:
                    self.stale += 1

    def pause(self, now: float) -> float:
        """How long the next request has to wait for its turn."""
        self._due = max(self._due + self._interval, now - self._interval)
        return max(0.0, self._due - now)

    def left(self) -> None:
        """A client is through; the last one ends the run."""
        self.active -= 1
        if self.active == 0 and not self.done.done():
            self.done.set_result(None)


class Client(asyncio.Protocol):
    """One keep-alive connection with one request in flight."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._received = b""
        self._number = 0
        self._sent = 0.0
        self._through = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not of its class
        self._send()

    def data_received(self, data: bytes) -> None:
        if self._received:
            data = self._received + data
        if len(data) < _length(data):
            self._received = data
            return
        self._received = b""
        now = perf_counter()
        load = self._load
        load.answered(self._number, self._sent, now, data)
        if now >= load.end:
            self._leave()
        elif (pause := load.pause(now)) > 0:
            asyncio.get_running_loop().call_later(pause, self._send)
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._through:
            self._load.broken += 1
            self._leave()

    def _send(self) -> None:
        if self._through:  # lost while it waited
            return
        load = self._load
        self._number = number = load.next
        load.next = number + 1
        self._sent = perf_counter()
        self._transport.write(load.make(number))

    def _leave(self) -> None:
        self._through = True
        self._transport.close()
        self._load.left()


def _length(data: bytes) -> int:
    """Of the whole answer, as far as its head is here; more than there is while it is not."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return len(data) + 1
    at = data.find(_LENGTH, 0, head) + len(_LENGTH)
    return head + 4 + int(data[at : data.find(b"\r", at)])


def quantiles(values: list[float]) -> Latency:
    """Of seconds, in milliseconds; nearest rank."""
    if not values:
        return Latency(0, 0, 0, 0)
    ranked = sorted(values)
    last = len(ranked) - 1
    shares = (0.5, 0.9, 0.99, 1.0)
    return Latency(*(round(ranked[min(last, int(last * share + 0.5))] * 1e3, 3) for share in shares))


async def _run(plan: Plan) -> Outcome:
    load = Load(plan)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_fail)
    for number in range(plan.clients):
        port = plan.ports[number % len(plan.ports)]
        await loop.create_connection(lambda: Client(load), "127.0.0.1", port)
    await asyncio.wait([load.done], timeout=plan.warmup_seconds + plan.seconds + PATIENCE_SECONDS)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Outcome(
        seconds=plan.seconds,
        answers={status.decode(): count for status, count in load.answers.items()},
        latency=quantiles(load.latencies),
        stale=load.stale,
        broken=load.broken + load.active,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        acknowledged=[(number, position.decode()) for number, position in load.acknowledged],
        overdrafts_sent=sum(is_overdraft(number) for number in range(load.next)),
    )


def _fail(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A bug in a callback: better no figure than a wrong one."""
    loop.default_exception_handler(context)
    sys.stderr.flush()
    os._exit(1)


def main() -> None:
    """Garbage collection is off: a run makes no cycles, and a pause would count as the server's."""
    gc.disable()
    plan = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Plan)
    sys.stdout.buffer.write(msgspec.msgpack.encode(uvloop.run(_run(plan))))
    sys.stdout.buffer.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
