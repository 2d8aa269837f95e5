"""How the played business reaches the ledger: `payments.events`, commands with replies, and a look at `ledger.events`."""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from msgspec import Raw, Struct
from msgspec.json import Decoder

from events.codec import Malformed, decode_reply, encode_ask, encode_command, timestamp
from events.commands import Command, Origin
from events.ids import Tenant, derived
from events.replies import Reply
from events.sharding import shard_of
from events.topics import COMMANDS, EVENTS, PAYMENTS, REPLIES, REPLIES_PARTITIONS
from services.kafka import client_options, ended
from services.mistakes import ExitCode, Mistake
from services.settings import Settings
from services.topics import check_topics
from services.upstream.world import Asked, Delivery

SILENCE_SECONDS_MAX = 30.0
OPEN_MAX = 10_000
_POLL_MS = 200
PAYMENT_KINDS = frozenset(
    f"payment.{status}" for status in ("processing", "succeeded", "failed", "cancelled")
)
_RECORDED = "payment.recorded.v1"

Heard = Callable[[Asked, Reply], None]


class _Told(Struct):
    time: str


class _Payment(Struct):
    payment_id: str


class _Recorded(Struct):
    told: _Told
    payment: _Payment


class _Event(Struct):
    """As much of an event as is looked at here."""

    type: str
    businessid: str
    data: Raw


class Post:
    """Use it as a context manager. `heard` hears each outcome as it comes."""

    def __init__(self, settings: Settings, tenant: Tenant, heard: Heard) -> None:
        self._settings = settings
        self._tenant = tenant
        self._heard = heard
        self._run = secrets.token_hex(8)
        self._numbers = 0
        self._asked: dict[str, Asked] = {}
        self._newest: dict[str, int] = {}
        self._unrecorded: dict[str, str] = {}
        self._news = asyncio.Event()
        self._replies = TopicPartition(REPLIES.name, int(self._run[:4], 16) % REPLIES_PARTITIONS)
        self._event = Decoder(_Event)
        self._recorded = Decoder(_Recorded)

    async def __aenter__(self) -> "Post":
        await check_topics(self._settings)
        options = client_options(self._settings)
        self._producer = AIOKafkaProducer(acks="all", enable_idempotence=True, linger_ms=5, **options)
        self._consumer = AIOKafkaConsumer(enable_auto_commit=False, **options)
        await self._producer.start()
        await self._consumer.start()
        places = [TopicPartition(EVENTS.name, shard) for shard in range(self._settings.shards)]
        self._consumer.assign([self._replies, *places])
        for place, end in (await self._consumer.end_offsets([self._replies, *places])).items():
            self._consumer.seek(place, end)
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        await ended(self._producer)
        await ended(self._consumer)

    async def deliver(self, deliveries: Iterable[Delivery], watched: bool) -> None:
        """Returns when Kafka has them. `watched`: somebody is going to wait until they are recorded."""
        sent = []
        for one in deliveries:
            if one.kind in PAYMENT_KINDS and one.told > self._newest.get(one.name, 0):
                self._newest[one.name] = one.told
                if watched:  # what is older than what was told makes no event
                    self._unrecorded[one.name] = timestamp(one.told)
            sent.append(await self._producer.send(PAYMENTS.name, one.value, key=one.name.encode()))
        await asyncio.gather(*sent)

    async def ask(self, asked: Sequence[Asked]) -> None:
        """In this order, which is kept for each customer; returns when Kafka has them."""
        if len(self._asked) > OPEN_MAX:
            await self.answered()
        sent = []
        for one in asked:
            self._numbers += 1
            correlation = f"{self._run}{self._numbers:08x}"
            self._asked[correlation] = one
            command = encode_command(self._command(one, correlation))
            place = shard_of(one.customer_id, self._settings.shards)
            key = one.customer_id.encode()
            sent.append(await self._producer.send(COMMANDS.name, command, key=key, partition=place))
        await asyncio.gather(*sent)

    def forget(self) -> None:
        """What was told: another life begins."""
        self._newest.clear()

    async def recorded(self) -> None:
        """Returns when the ledger has recorded the newest that was told of each watched payment. Raises Mistake."""
        await self._until_none(
            self._unrecorded, "payments are not recorded", "an intake", "wallet-ledger intake"
        )

    async def answered(self) -> None:
        """Returns when there is an outcome for everything that was asked. Raises Mistake."""
        await self._until_none(self._asked, "commands have no answer", "a ledger", "wallet-ledger ledger")

    async def _until_none(self, left: Mapping[str, object], what: str, who: str, command: str) -> None:
        while left:
            if self._listening.done():
                self._listening.result()
            self._news.clear()
            try:
                async with asyncio.timeout(SILENCE_SECONDS_MAX):
                    await self._news.wait()
            except TimeoutError as error:
                raise Mistake(
                    f"{len(left)} {what} after {SILENCE_SECONDS_MAX:.0f} s: does {who} run? (`{command}`)",
                    ExitCode.UNREACHABLE,
                ) from error

    async def _listen(self) -> None:
        while True:
            batches = await self._consumer.getmany(timeout_ms=_POLL_MS)
            for place, records in batches.items():
                for record in records:
                    if place == self._replies:
                        self._hear(record.value)
                    elif self._unrecorded:
                        self._look(record.value)
            await asyncio.sleep(0)

    def _hear(self, value: bytes) -> None:
        """Replies of others in the same partition are none of our business, whatever they look like."""
        try:
            reply = decode_reply(value)
        except Malformed:
            return
        asked = self._asked.pop(reply.correlation, None)
        if asked is not None:
            self._heard(asked, reply)
            self._news.set()

    def _look(self, value: bytes) -> None:
        event = self._event.decode(value)
        if event.type != _RECORDED or event.businessid != self._tenant.business_id:
            return
        recorded = self._recorded.decode(event.data)
        name = recorded.payment.payment_id
        if recorded.told.time >= self._unrecorded.get(name, "~"):
            del self._unrecorded[name]
            self._news.set()

    def _command(self, asked: Asked, correlation: str) -> Command:
        ask = asked.ask
        return Command(
            id=derived("cmd_", f"{correlation}|{asked.key}"),
            source="/upstream",
            type=ask.TYPE,
            subject=asked.customer_id,
            businessid=self._tenant.business_id,
            mode="live" if self._tenant.mode == "live" else "test",
            origin=Origin.SYSTEM,
            actor="shop",
            correlationid=correlation,
            idempotencykey=asked.key,
            effectivetime=timestamp(asked.at),
            replyto=f"{self._replies.partition}/{correlation}",
            data=encode_ask(ask),
        )
