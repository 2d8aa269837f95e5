"""Commands to the ledger, each held open until its outcome is seen."""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from msgspec.structs import replace

from events.codec import Malformed, decode_reply, encode_command
from events.commands import Command
from events.replies import Reply
from events.sharding import shard_of
from events.topics import COMMANDS, DEAD_LETTERS, REPLIES, REPLIES_PARTITIONS
from services.intake.together import LATER
from services.kafka import client_options, ended
from services.producing import LastingProducer
from services.settings import Settings
from services.topics import DEAD_LETTER_BYTES_MAX

RESEND_SECONDS = 5.0
RESEND_SECONDS_MAX = 60.0
"""Each copy lies before the commands of clients when the ledger comes back after long."""
DEAF_SECONDS = 10.0
"""Fetches are answered each half second, with nothing too."""


@dataclass
class _Asked:
    """A command, addressed, and its outcome. All copies of it have one correlation: a reply to any will do."""

    command: Command
    outcome: "asyncio.Future[Reply]"
    told_later: bool = False
    since: float = field(default_factory=time.monotonic)


class Asker:
    """One producer, one reader of one partition of `ledger.replies`."""

    def __init__(self, settings: Settings, micros: Callable[[], int]) -> None:
        self._settings = settings
        self._micros = micros
        self._instance = secrets.token_bytes(16)
        self._numbers = count(1)
        self._pending: dict[str, _Asked] = {}
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

    def waits_since(self) -> float | None:
        """When the oldest command that has no outcome was asked first."""
        return next((one.since for one in self._pending.values()), None)

    def hears(self) -> bool:
        """Whether a reply would be heard. If not, a new process may: it draws another partition."""
        answered = self._consumer.last_poll_timestamp(TopicPartition(REPLIES.name, self._partition))
        return answered is not None and self._micros() / 1_000_000 - answered / 1_000 < DEAF_SECONDS

    async def read_forever(self) -> None:
        """Raises what the client raises: the process starts again."""
        while True:
            for records in (await self._consumer.getmany(timeout_ms=1_000)).values():
                for record in records:
                    self._settle(record.value or b"")

    async def ask(self, commands: Sequence[Command]) -> list[Reply]:
        """The outcome of each, however long that takes: the ledger may be away. The same command is asked once."""
        asked: dict[str, _Asked] = {}
        for command in commands:
            if command.id not in asked:
                asked[command.id] = self._addressed(command)
        seconds = RESEND_SECONDS
        try:
            while missing := [one for one in asked.values() if not one.outcome.done()]:
                for one in missing:
                    one.told_later = False
                acknowledged = [await self._send(one.command) for one in missing]
                await asyncio.wait([one.outcome for one in missing], timeout=seconds)
                soon = any(one.told_later for one in missing) or not all(map(_is_kept, acknowledged))
                seconds = next_pause(seconds, soon=soon)
            return [asked[command.id].outcome.result() for command in commands]
        finally:
            for one in asked.values():
                self._pending.pop(str(one.command.replyto).partition("/")[2], None)

    async def dead_letter(self, key: bytes, value: bytes) -> None:
        """Returns when Kafka has it."""
        await (await self._producer.send(value, key=key, partition=0, topic=DEAD_LETTERS.name))

    def _addressed(self, command: Command) -> _Asked:
        correlation = self._instance.hex() + f"{next(self._numbers):016x}"
        addressed = replace(command, replyto=f"{self._partition}/{correlation}")
        asked = self._pending[correlation] = _Asked(addressed, asyncio.get_running_loop().create_future())
        return asked

    async def _send(self, command: Command) -> "asyncio.Future[Any] | None":
        """Done when Kafka has it; None where its partition takes nothing more. It is asked again."""
        try:
            return await self._producer.send(
                encode_command(command),
                key=command.subject.encode(),
                partition=shard_of(command.subject, self._settings.shards),
            )
        except KafkaError:
            return None

    def _settle(self, value: bytes) -> None:
        """Others' and late ones are nobody's here."""
        try:
            reply = decode_reply(value)
        except Malformed:
            return
        asked = self._pending.get(reply.correlation)
        if asked is None or asked.outcome.done():
            return
        asked.told_later = reply.outcome in LATER
        if not asked.told_later:
            asked.outcome.set_result(reply)


def next_pause(seconds: float, *, soon: bool) -> float:
    """Longer and longer while nobody answers. Soon where Kafka lost something, or the ledger said "later"."""
    return RESEND_SECONDS if soon else min(2 * seconds, RESEND_SECONDS_MAX)


def _is_kept(acknowledged: "asyncio.Future[Any] | None") -> bool:
    if acknowledged is None:
        return False
    return acknowledged.done() and not acknowledged.cancelled() and acknowledged.exception() is None
