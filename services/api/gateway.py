"""Commands to the ledger and their replies, over Kafka."""

import asyncio
import secrets
import signal
import time
from collections.abc import Coroutine
from itertools import count
from typing import NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from events import codec
from events.commands import GRACE_SECONDS, Command
from events.replies import Reply
from events.topics import COMMANDS, REPLIES, REPLIES_PARTITIONS
from services.api import metrics
from services.api.breaker import Breaker
from services.api.ports import NotHandedOver, OutcomeUnknown, Ticket
from services.kafka import client_options, ended
from services.pace import Pace
from services.producing import LastingProducer
from services.settings import Settings

log = structlog.get_logger()

PACE_SECONDS = 0.001
"""A produce request costs about the same for one command as for ten."""

_SWEEP_SECONDS = 0.05
_PROBE_SECONDS = 1.0
_PROBE_TIMEOUT_SECONDS = 2.0
_BATCH_BYTES_MAX = 512 * 1024
_REQUEST_TIMEOUT_MS = 10_000
_SILENCE_SECONDS = 2.0
_BLAME_SECONDS = 15.0


class Pending(NamedTuple):
    """A command that waits for its reply; `expires` in monotonic seconds."""

    reply: "asyncio.Future[Reply | None]"
    asked: float
    expires: float


class KafkaGateway:
    """One producer and one reader of one partition of `ledger.replies` per process. Implements `ports.Gateway`."""

    def __init__(
        self, settings: Settings, commands: str = COMMANDS.name, replies: str = REPLIES.name
    ) -> None:
        self._settings = settings
        self._commands = commands
        self._replies = replies
        self._instance = secrets.token_bytes(16)
        self._prefix = self._instance.hex()
        self._numbers = count(1)
        self._pending: dict[str, Pending] = {}
        self._reply_prefix = ""
        self._breaker = Breaker(settings.shards)
        self._pace = Pace(PACE_SECONDS)
        self._tasks: list[asyncio.Task[None]] = []
        self._replied = time.monotonic()
        self._timed_out = float("-inf")
        self._producer: LastingProducer
        self._consumer: AIOKafkaConsumer

    async def start(self) -> None:
        """Connect, and resolve the end of our partition of replies before anyone may ask.

        Raises:
            KafkaError: no broker answers.
        """
        options = client_options(self._settings) | {"request_timeout_ms": _REQUEST_TIMEOUT_MS}
        self._producer = LastingProducer(self._commands, max_batch_size=_BATCH_BYTES_MAX, **options)
        self._consumer = AIOKafkaConsumer(
            group_id=None, enable_auto_commit=False, auto_offset_reset="latest", **options
        )
        await self._producer.start()
        await self._consumer.start()
        partition = int.from_bytes(self._instance[:4]) % REPLIES_PARTITIONS
        await self._listen(TopicPartition(self._replies, partition))
        self._reply_prefix = f"{partition}/"
        for routine in (self._read_replies(), self._sweep(), self._probe()):
            self._supervise(routine)

    async def stop(self) -> None:
        for task in self._tasks:
            task.remove_done_callback(self._died)
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        clients = [getattr(self, name) for name in ("_producer", "_consumer") if hasattr(self, name)]
        # Kafka may be away: what is queued is late anyway
        await asyncio.gather(*map(ended, clients), return_exceptions=True)

    def ticket(self) -> Ticket:
        command_id = f"{self._prefix}{next(self._numbers):016x}"
        deadline = time.time() + self._settings.command_deadline_seconds
        return Ticket(command_id, self._reply_prefix + command_id, codec.timestamp(int(deadline * 1e6)))

    async def ask(self, command: Command, shard: int) -> Reply:
        """See `ports.Gateway`."""
        if len(self._pending) >= self._settings.commands_in_flight_max:
            raise self._refuse("too many commands are in flight")
        if self._breaker.refuses(shard):
            raise self._refuse("Kafka does not answer")
        now = time.monotonic()
        expires = now + self._settings.command_deadline_seconds + GRACE_SECONDS
        reply: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        self._pending[command.id] = Pending(reply, now, expires)
        try:
            await self._hand_over(command, shard)
            outcome = await reply
        finally:
            self._pending.pop(command.id, None)
        if outcome is None:
            metrics.command("unknown")
            raise OutcomeUnknown
        metrics.command(outcome.outcome)
        return outcome

    async def _hand_over(self, command: Command, shard: int) -> None:
        value = codec.encode_command(command)
        await self._pace.turn()
        try:
            acknowledged = await self._producer.send(value, key=command.subject.encode(), partition=shard)
        except KafkaError as error:  # raised before the record is in a batch
            raise self._refuse(f"Kafka does not take it: {type(error).__name__}") from error
        self._breaker.handed_over(shard, acknowledged)

    def _refuse(self, why: str) -> NotHandedOver:
        metrics.command("not_handed_over")
        return NotHandedOver(why)

    async def _read_replies(self) -> None:
        while True:
            try:
                batches = await self._consumer.getmany(timeout_ms=60_000)
            except KafkaError as error:
                log.warning("replies cannot be read", error=type(error).__name__)
                await asyncio.sleep(0.2)
                continue
            for records in batches.values():
                for record in records:
                    self._settle(record.value)

    def _settle(self, value: bytes | None) -> None:
        """Give a reply to whoever asked. Others' and late ones are nobody's here."""
        try:
            reply = codec.decode_reply(value or b"")
        except codec.Malformed:
            metrics.command("malformed_reply")
            return
        pending = self._pending.get(reply.correlation)
        if pending is None or pending.reply.done():
            return
        self._replied = now = time.monotonic()
        metrics.REPLY_SECONDS.observe(now - pending.asked)
        pending.reply.set_result(reply)

    async def _sweep(self) -> None:
        """Deadlines and acknowledgements. Equal deadlines: the oldest command stands first."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = time.monotonic()
            for pending in self._pending.values():
                if pending.expires > now:
                    break
                if not pending.reply.done():
                    self._timed_out = now
                    pending.reply.set_result(None)
            self._breaker.sweep()
            metrics.IN_FLIGHT.set(len(self._pending))

    async def _probe(self) -> None:
        """Ask the brokers who they are, also when nobody sends: the next command must not be the probe."""
        while True:
            update = asyncio.shield(self._producer.client.force_metadata_update())
            try:
                reachable = bool(await asyncio.wait_for(update, _PROBE_TIMEOUT_SECONDS))
            except (TimeoutError, KafkaError):
                reachable = False
            if reachable != self._breaker.reachable:
                log.warning("Kafka answers again" if reachable else "Kafka does not answer")
            self._breaker.reachable = reachable
            await asyncio.sleep(_PROBE_SECONDS)

    def problems(self) -> dict[str, str]:
        """What keeps commands from being answered, by component."""
        found = {}
        if (problem := self._breaker.problem) is not None:
            found["kafka"] = problem
        now = time.monotonic()
        oldest = next((pending.asked for pending in self._pending.values()), now)
        silent = now - oldest > _SILENCE_SECONDS and now - self._replied > _SILENCE_SECONDS
        blamed = self._timed_out > self._replied and now - self._timed_out < _BLAME_SECONDS
        if silent or blamed:  # blame fades: only a request can show that the ledger is back
            found["ledger"] = "commands get no reply"
        return found

    async def _listen(self, replies: TopicPartition) -> None:
        self._consumer.assign([replies])
        ends = await self._consumer.end_offsets([replies])
        self._consumer.seek(replies, ends[replies])

    def _supervise(self, routine: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(routine)
        task.add_done_callback(self._died)
        self._tasks.append(task)

    def _died(self, task: "asyncio.Task[None]") -> None:
        """A routine that ends is a bug: without it no command gets its answer, so this process goes."""
        error = None if task.cancelled() else task.exception()
        log.critical("a routine of the gateway died", error=type(error).__name__)
        signal.raise_signal(signal.SIGTERM)
