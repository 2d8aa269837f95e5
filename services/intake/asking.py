"""Commands to the ledger, each held open until its outcome is seen."""

import asyncio
import secrets
from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec.structs import replace

from events.codec import Malformed, decode_reply, encode_command
from events.commands import Command
from events.replies import Outcome, Reply
from events.sharding import shard_of
from events.topics import COMMANDS, DEAD_LETTERS, REPLIES, REPLIES_PARTITIONS
from services.kafka import client_options, ended
from services.producing import LastingProducer
from services.settings import Settings
from services.topics import DEAD_LETTER_BYTES_MAX

RESEND_SECONDS = 5.0
AGAIN_SECONDS = 0.5
LATER = {Outcome.UNAVAILABLE, Outcome.LATE}


class _Asked(NamedTuple):
    """A command on its way, and the name of its reply."""

    name: str
    correlation: str
    future: "asyncio.Future[Reply]"


class Asker:
    """One producer, one reader of one partition of `ledger.replies`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._instance = secrets.token_bytes(16)
        self._numbers = count(1)
        self._pending: dict[str, asyncio.Future[Reply]] = {}
        self._producer: LastingProducer
        self._consumer: AIOKafkaConsumer

    async def start(self) -> None:
        """The end of our partition of replies is known before anything is asked."""
        options = client_options(self._settings)
        self._producer = LastingProducer(
            COMMANDS.name,
            max_batch_size=512 * 1024,
            max_request_size=DEAD_LETTER_BYTES_MAX,
            linger_ms=2,
            **options,
        )
        self._consumer = AIOKafkaConsumer(group_id=None, enable_auto_commit=False, **options)
        await self._producer.start()
        await self._consumer.start()
        self._partition = int.from_bytes(self._instance[:4]) % REPLIES_PARTITIONS
        replies = TopicPartition(REPLIES.name, self._partition)
        self._consumer.assign([replies])
        self._consumer.seek(replies, (await self._consumer.end_offsets([replies]))[replies])

    async def stop(self) -> None:
        for client in ("_producer", "_consumer"):
            if hasattr(self, client):
                await ended(getattr(self, client))

    async def read_forever(self) -> None:
        """Raises what the client raises: the process starts again."""
        while True:
            for records in (await self._consumer.getmany(timeout_ms=1_000)).values():
                for record in records:
                    self._settle(record.value or b"")

    async def ask(self, commands: Sequence[Command]) -> list[Reply]:
        """The outcome of each, however long that takes: the ledger may be away."""
        replies: dict[str, Reply] = {}
        while missing := [command for command in commands if command.id not in replies]:
            asked = await self._send(missing)
            await asyncio.wait([one.future for one in asked], timeout=RESEND_SECONDS)
            for one in asked:
                self._pending.pop(one.correlation, None)  # who got no reply is asked anew, under another name
                if one.future.done() and one.future.result().outcome not in LATER:
                    replies[one.name] = one.future.result()
            if len(replies) < len({command.id for command in commands}):
                await asyncio.sleep(AGAIN_SECONDS)
        return [replies[command.id] for command in commands]

    async def dead_letter(self, key: bytes, value: bytes) -> None:
        """Returns when Kafka has it."""
        await (await self._producer.send(value, key=key, partition=0, topic=DEAD_LETTERS.name))

    async def _send(self, commands: Sequence[Command]) -> list[_Asked]:
        """Two commands that are the same share an outcome."""
        asked: list[_Asked] = []
        for command in {command.id: command for command in commands}.values():
            correlation = self._instance.hex() + f"{next(self._numbers):016x}"
            future = self._pending[correlation] = asyncio.get_running_loop().create_future()
            asked.append(_Asked(command.id, correlation, future))
            addressed = replace(command, replyto=f"{self._partition}/{correlation}")
            await self._producer.send(
                encode_command(addressed),
                key=command.subject.encode(),
                partition=shard_of(command.subject, self._settings.shards),
            )
        return asked

    def _settle(self, value: bytes) -> None:
        """Others' and late ones are nobody's here."""
        try:
            reply = decode_reply(value)
        except Malformed:
            return
        future = self._pending.pop(reply.correlation, None)
        if future is not None and not future.done():
            future.set_result(reply)
