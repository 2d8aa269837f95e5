"""What payment services of the business would send: commands on `ledger.commands`, answered on `ledger.replies`."""

import asyncio
import secrets
from collections.abc import Callable, Iterable
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from msgspec import UNSET

from events.codec import Malformed, decode_reply, encode_ask, encode_command
from events.commands import Command, CreditWallet, DebitWallet, Origin
from events.ids import Tenant, derived
from events.replies import Outcome, Reply
from events.sharding import shard_of
from events.topics import COMMANDS, REPLIES, REPLIES_PARTITIONS
from services.console.mistakes import ExitCode, Mistake
from services.kafka import client_options
from services.sample.plan import Move
from services.settings import Settings
from services.topics import check_topics

SILENCE_SECONDS_MAX = 30.0
_POLL_MS = 200
_ACTOR = "sample"


class Asked(NamedTuple):
    """A movement of a customer's money."""

    customer_id: str
    move: Move


Listener = Callable[[Asked, Reply], None]
"""Hears of each outcome as it comes."""


class Upstream:
    """A producer, and a reader of one partition of the replies."""

    def __init__(self, settings: Settings, tenant: Tenant) -> None:
        self._settings = settings
        self._tenant = tenant
        self._run = secrets.token_hex(8)
        self._partition = TopicPartition(REPLIES.name, int(self._run[:4], 16) % REPLIES_PARTITIONS)

    async def send(self, asked: Iterable[Asked], heard: Listener) -> None:
        """Send in the given order, which is kept for each customer, and return when all are answered.

        Raises:
            Mistake: no answer for a while, or one that is neither a yes nor a business refusal.
        """
        await check_topics(self._settings)
        options = client_options(self._settings)
        consumer = AIOKafkaConsumer(enable_auto_commit=False, auto_offset_reset="latest", **options)
        producer = AIOKafkaProducer(acks="all", enable_idempotence=True, **options)
        await consumer.start()
        try:
            consumer.assign([self._partition])
            await consumer.seek_to_end(self._partition)
            await consumer.position(self._partition)
            await producer.start()
            pending = await self._produce(producer, asked)
            await self._listen(consumer, pending, heard)
        finally:
            await producer.stop()
            await consumer.stop()

    async def _produce(self, producer: AIOKafkaProducer, asked: Iterable[Asked]) -> dict[str, Asked]:
        pending = {}
        acknowledged = []
        for number, one in enumerate(asked):
            correlation = f"{self._run}{number:08x}"
            pending[correlation] = one
            acknowledged.append(
                await producer.send(
                    COMMANDS.name,
                    encode_command(self._command(one, correlation)),
                    key=one.customer_id.encode(),
                    partition=shard_of(one.customer_id, self._settings.shards),
                )
            )
        await asyncio.gather(*acknowledged)
        return pending

    def _command(self, asked: Asked, correlation: str) -> Command:
        move = asked.move
        ask = (CreditWallet if move.is_credit else DebitWallet)(
            currency=move.currency,
            amount=move.amount,
            cause=move.cause,
            reason=UNSET if move.reason is None else move.reason,
            reference=UNSET if move.reference is None else move.reference,
        )
        return Command(
            id=derived("cmd_", f"{correlation}|{move.key}"),
            source="/sample",
            type=ask.TYPE,
            subject=asked.customer_id,
            businessid=self._tenant.business_id,
            mode="live" if self._tenant.mode == "live" else "test",
            origin=Origin.SYSTEM,
            actor=_ACTOR,
            correlationid=correlation,
            idempotencykey=move.key,
            replyto=f"{self._partition.partition}/{correlation}",
            data=encode_ask(ask),
        )

    async def _listen(self, consumer: AIOKafkaConsumer, pending: dict[str, Asked], heard: Listener) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SILENCE_SECONDS_MAX
        while pending:
            batches = await consumer.getmany(self._partition, timeout_ms=_POLL_MS)
            for record in (record for records in batches.values() for record in records):
                reply = _read(record.value)
                asked = pending.pop(reply.correlation, None) if reply else None
                if reply is not None and asked is not None:
                    _accept(reply)
                    heard(asked, reply)
                    deadline = loop.time() + SILENCE_SECONDS_MAX
            if loop.time() > deadline:
                raise Mistake(
                    f"{len(pending)} commands have no answer after {SILENCE_SECONDS_MAX:.0f} s: does a ledger run? "
                    "(`wallet-ledger ledger`)",
                    ExitCode.UNREACHABLE,
                )


def _read(value: bytes) -> Reply | None:
    """Replies of others in the same partition are none of our business, whatever they look like."""
    try:
        return decode_reply(value)
    except Malformed:
        return None


def _accept(reply: Reply) -> None:
    if reply.outcome not in (Outcome.APPLIED, Outcome.REFUSED):
        raise Mistake(
            f"the ledger answers {reply.outcome} {reply.code} {reply.message}".strip(), ExitCode.REFUSED
        )
