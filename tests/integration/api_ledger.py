"""A ledger of a few lines on the real topics: reads commands, answers on `ledger.replies` as a test says."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from events.codec import decode_command, encode_reply
from events.commands import Command
from events.replies import Outcome, Reply
from events.topics import REPLIES_PARTITIONS

Answering = Callable[[Command, int], Reply | None]


def applied(command: Command, number: int) -> Reply:
    """The answer that most tests want."""
    time = "2026-01-01T00:00:00.000001Z"
    return Reply(
        correlation=command.id, outcome=Outcome.APPLIED, position=f"0:{number}", time=time, registered=time
    )


class Topics:
    """Names of a test's own."""

    def __init__(self) -> None:
        mark = secrets.token_hex(4)
        self.commands = f"api-{mark}.commands"
        self.replies = f"api-{mark}.replies"

    async def create(self, bootstrap: str, shards: int) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            wanted = [NewTopic(self.commands, shards, 1), NewTopic(self.replies, REPLIES_PARTITIONS, 1)]
            await admin.create_topics(wanted)
        finally:
            await admin.close()


class TinyLedger:
    """`answering` None for a command: no reply."""

    def __init__(self, bootstrap: str, topics: Topics, shards: int) -> None:
        self.received: list[Command] = []
        self.answering: Answering = applied
        self._topics = topics
        self._partitions = [TopicPartition(topics.commands, shard) for shard in range(shards)]
        self._consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
        self._producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._producer.start()
        await self._consumer.start()
        self._consumer.assign(self._partitions)
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.wait_for(self._consumer.stop(), 5)
        await asyncio.wait_for(self._producer.stop(), 5)

    async def say(self, reply: Reply, replyto: str) -> None:
        """A reply that nobody asked for."""
        partition = int(replyto.partition("/")[0])
        await self._producer.send_and_wait(self._topics.replies, encode_reply(reply), partition=partition)

    async def _run(self) -> None:
        async for record in self._consumer:
            command, _ = decode_command(record.value)
            self.received.append(command)
            reply = self.answering(command, len(self.received))
            if reply is not None:
                await self.say(reply, str(command.replyto))


@asynccontextmanager
async def tiny_ledger(bootstrap: str, topics: Topics, shards: int) -> AsyncIterator[TinyLedger]:
    ledger = TinyLedger(bootstrap, topics, shards)
    await ledger.start()
    try:
        yield ledger
    finally:
        await ledger.stop()
