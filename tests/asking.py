"""A client of the ledger that speaks Kafka: sends commands, keeps every reply, asks again like a patient caller."""

import asyncio
import contextlib
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Literal, NamedTuple, cast

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from msgspec import UNSET

from events.codec import Malformed, decode_reply, encode_ask, encode_command
from events.commands import (
    AnyAsk,
    Command,
    CreditWallet,
    DebitWallet,
    EnterInBulk,
    Origin,
    RegisterCustomer,
)
from events.ids import Tenant
from events.replies import Outcome, Reply
from events.sharding import shard_of
from events.topics import COMMANDS, EVENTS, REPLIES

TENANT = Tenant("biz_tests", "test")
REPLY_PARTITION = 3
FINAL = {Outcome.APPLIED, Outcome.REFUSED, Outcome.KEY_REUSED, Outcome.MALFORMED, Outcome.FAILED}


class Sent(NamedTuple):
    """One command as sent."""

    command: Command
    correlation: str
    shard: int


class Asker:
    """Every reply that arrives is kept in `replies`, so that a test can see doubles."""

    def __init__(self, bootstrap: str, shards: int) -> None:
        self._bootstrap = bootstrap
        self._shards = shards
        self.replies: dict[str, list[Reply]] = defaultdict(list)
        self._news = asyncio.Condition()
        self._producer: AIOKafkaProducer
        self._consumer: AIOKafkaConsumer
        self._reading: asyncio.Task[None]

    async def start(self) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all",
            enable_idempotence=True,
            request_timeout_ms=10_000,
            max_request_size=2**21,
        )
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap, group_id=None, auto_offset_reset="earliest"
        )
        await self._producer.start()
        await self._consumer.start()
        partition = TopicPartition(REPLIES.name, REPLY_PARTITION)
        self._consumer.assign([partition])
        self._consumer.seek(partition, (await self._consumer.end_offsets([partition]))[partition])
        self._reading = asyncio.create_task(self._read())

    async def stop(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        for client in (self._producer, self._consumer):
            with contextlib.suppress(KafkaError, TimeoutError):
                await asyncio.wait_for(client.stop(), 5)

    async def send(
        self,
        customer: str,
        ask: AnyAsk | EnterInBulk,
        key: str = "",
        deadline: str = "",
        tenant: Tenant = TENANT,
        awaited: bool = False,
        effective: str = "",
    ) -> Sent:
        """Returns when Kafka has it."""
        correlation = secrets.token_hex(16)
        command = Command(
            id=f"cmd_{correlation}",
            source="/tests",
            type=ask.TYPE,
            subject=customer,
            businessid=tenant.business_id,
            mode=cast(Literal["live", "test"], tenant.mode),
            origin=Origin.API,
            actor="key_tests",
            correlationid=f"cor_{correlation}",
            idempotencykey=key or UNSET,
            deadline=deadline or UNSET,
            effectivetime=effective or UNSET,
            replyto=f"{REPLY_PARTITION}/{correlation}",
            awaited=awaited,
            data=encode_ask(ask),
        )
        shard = shard_of(customer, self._shards)
        await self.send_bytes(encode_command(command), shard, customer.encode())
        return Sent(command, correlation, shard)

    async def send_bytes(self, value: bytes | None, shard: int, key: bytes | None = None) -> int:
        """Whatever is to lie in `ledger.commands`; its offset."""
        record = await self._producer.send_and_wait(COMMANDS.name, value, key=key, partition=shard)
        return int(record.offset)

    async def reply(self, sent: Sent, seconds: float = 20) -> Reply:
        """The first reply to it. Raises TimeoutError."""
        return await self.answer(sent.correlation, seconds)

    async def answer(self, correlation: str, seconds: float = 20) -> Reply:
        """The first reply with this correlation. Raises TimeoutError."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(lambda: self.replies.get(correlation))
        return self.replies[correlation][0]

    async def ask(
        self, customer: str, ask: AnyAsk | EnterInBulk, key: str = "", seconds: float = 20
    ) -> Reply:
        """Send once and wait."""
        return await self.reply(await self.send(customer, ask, key), seconds)

    async def insist(self, customer: str, ask: AnyAsk | EnterInBulk, key: str, seconds: float = 30) -> Reply:
        """Ask again with the same key, each second, until there is an outcome."""
        sent: list[Sent] = []
        async with asyncio.timeout(seconds):
            while True:
                sent.append(await self.send(customer, ask, key))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.0), self._news:
                        await self._news.wait_for(lambda: self.final(sent) is not None)
                if (found := self.final(sent)) is not None:
                    return found

    def final(self, sent: list[Sent]) -> Reply | None:
        """An outcome among the replies to these."""
        found = (reply for one in sent for reply in self.replies.get(one.correlation, ()))
        return next((reply for reply in found if reply.outcome in FINAL), None)

    async def _read(self) -> None:
        while True:
            for records in (await self._consumer.getmany(timeout_ms=200)).values():
                async with self._news:
                    for record in records:
                        with contextlib.suppress(Malformed):  # other tests write there what nobody can read
                            reply = decode_reply(record.value or b"")
                            self.replies[reply.correlation].append(reply)
                    self._news.notify_all()


@contextlib.asynccontextmanager
async def asking(bootstrap: str, shards: int) -> AsyncIterator[Asker]:
    """A started client."""
    asker = Asker(bootstrap, shards)
    await asker.start()
    try:
        yield asker
    finally:
        await asker.stop()


def customer_in(shard: int, shards: int, name: str) -> str:
    """A customer id that lives in this shard."""
    return next(f"cus_{name}{n}" for n in range(10_000) if shard_of(f"cus_{name}{n}", shards) == shard)


def registration(name: str = "Trần Thị B") -> RegisterCustomer:
    return RegisterCustomer(name=name, email="b@example.com")


def credit(amount: int, currency: str = "USD") -> CreditWallet:
    return CreditWallet(currency=currency, amount=amount)


def debit(amount: int, currency: str = "USD") -> DebitWallet:
    return DebitWallet(currency=currency, amount=amount)


async def read_topic(bootstrap: str, partitions: int, topic: str = EVENTS.name) -> dict[int, list[bytes]]:
    """All values of a topic by partition, up to the ends at the call."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest")
    await consumer.start()
    found: dict[int, list[bytes]] = {partition: [] for partition in range(partitions)}
    try:
        assigned = [TopicPartition(topic, partition) for partition in range(partitions)]
        consumer.assign(assigned)
        ends = await consumer.end_offsets(assigned)
        left = {partition for partition in assigned if ends[partition]}
        while left:
            for partition, records in (await consumer.getmany(timeout_ms=500)).items():
                found[partition.partition] += [record.value for record in records]
            left = {partition for partition in left if await consumer.position(partition) < ends[partition]}
    finally:
        await consumer.stop()
    return found
