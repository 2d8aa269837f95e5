"""A Faust agent that reads a topic from our own checkpoints, and what had to be taken from Faust for that.

Faust's own commits would lose events (an exception acknowledges, a kill may skip), so there are none: `acks=False`.
Where to read from is decided by the checkpoints alone, which move in one transaction with the rows.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import faust
import psycopg
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from faust.exceptions import ConsumerNotStarted
from faust.tables import TableManager
from faust.transport.consumer import RecordMap
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, StreamT, TransportT

from services.kafka import ISOLATION_LEVEL, ssl_context
from services.reading import Record
from services.settings import Settings

SESSION_SECONDS = 6.0
HEARTBEAT_SECONDS = 1.0
POLL_SECONDS_MAX = 30 * 86_400.0
"""Who waits for the ledger with all buffers full fetches nothing meanwhile. Beyond this it would lose its partitions, and
what is in the buffers, and stand still. Whether a consumer hangs is for our own watch to say."""
BUNDLED_MAX = 1_000
BUNDLES_MAX = 8
"""Of what was fetched; an inbox behind them waits for bytes, not for bundles, and a bundle may be megabytes."""

NextOffsets = Callable[[], Awaitable[Mapping[int, int]]]
"""Reads the checkpoints afresh: the next offset of each shard."""
Receive = Callable[[Sequence[Record]], Awaitable[None]]


class CheckpointApp(faust.App):
    """A Faust app whose consumer starts at our checkpoints after every rebalance."""

    next_offsets: NextOffsets
    read_topic: str
    fetched: dict[int, int]
    """The offset behind the last record that was fetched since the last rebalance, by partition."""
    failed: "asyncio.Future[None]"
    """Has the error if the checkpoints cannot be read; never a result."""

    def _new_transport(self) -> TransportT:
        return CheckpointTransport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """There are no tables to keep in any."""

    def received(self) -> set[int]:
        """The partitions that are assigned to this process.

        Raises:
            ConsumerNotStarted
        """
        return {tp.partition for tp in self.consumer.assignment() if tp.topic == self.read_topic}

    def positions(self) -> dict[int, int]:
        """Where fetching goes on, by partition; none where that is not known yet.

        Raises:
            ConsumerNotStarted
        """
        found: dict[int, int] = self.consumer.positions()  # type: ignore[attr-defined]
        return found

    def leave_when_stopped(self) -> None:
        """For good, or for longer than a restart takes."""
        with suppress(ConsumerNotStarted):
            self.consumer.leave_when_stopped()  # type: ignore[attr-defined]


class CheckpointThread(driver.AIOKafkaConsumerThread):
    """Does not receive what a producer's transaction took back."""

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        """Faust asks for that only where it commits by transactions itself."""
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = ISOLATION_LEVEL
        return consumer


class CheckpointConsumer(driver.Consumer):
    """Reads from our checkpoints, and hands on bundles."""

    app: CheckpointApp

    def _new_consumer_thread(self) -> CheckpointThread:
        return CheckpointThread(self, loop=self.loop, beacon=self.beacon)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek to the checkpoints where Faust would seek to what its group committed.

        A seek from `on_partitions_assigned` is not enough: Faust calls this afterwards and undoes it.
        """
        try:
            offsets = await self.app.next_offsets()
        except psycopg.Error as error:
            if not self.app.failed.done():
                self.app.failed.set_exception(error)
            # after an exception Faust would go on somewhere else: the process ends
            return await asyncio.Future()
        topic = self.app.read_topic
        wanted = {tp: offsets.get(tp.partition, 0) for tp in self.assignment() if tp.topic == topic}
        await self.seek_wait(wanted)
        self.app.fetched.clear()  # what was given up with partitions is not missed
        return wanted

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> RecordMap:  # noqa: ASYNC109
        """Everything that was fetched becomes one message, with its records as value.

        Faust makes two tasks and takes four queues for each message: 85 us, more than all of our own work on an
        event. Message by message it receives 7,000/s here. Which partition the message is said to come from does
        not matter: nothing is acknowledged, and each record names its own.
        """
        fetched = await super()._getmany(active_partitions, timeout)
        bundles = [(tp, records) for tp, records in fetched.items() if records]
        if not bundles:
            return {}
        self.app.fetched.update({tp.partition: records[-1].offset + 1 for tp, records in bundles})
        tp, records = bundles[0]
        together = [record for _, bundle in bundles for record in bundle]
        return {tp: [replace(records[-1], key=None, value=together)]}

    def positions(self) -> dict[int, int]:
        """Looked at, not asked for: a position that is not known is waited for, and Faust's thread has two workers."""
        subscription = self._thread._ensure_consumer()._subscription.subscription
        if subscription is None or (assignment := subscription.assignment) is None:
            return {}
        states = {tp.partition: assignment.state_value(tp) for tp in assignment.tps}
        return {number: state.position for number, state in states.items() if state.has_valid_position}

    def leave_when_stopped(self) -> None:
        """Let others have our partitions at once. aiokafka leaves a group without a name only; for a member with a
        name the broker would keep them until its session is over."""
        self._thread._ensure_consumer()._coordinator._group_instance_id = None


class NoTables(TableManager):
    """Faust waits a second for tables to come; there are none."""

    async def on_start(self) -> None:
        if not self.should_stop:
            await self._update_channels()
            await self.recovery.start()


class CheckpointTransport(driver.Transport):
    Consumer: ClassVar[Any] = CheckpointConsumer


class Reading(NamedTuple):
    """Who reads what: `group` is Kafka's name of those who share the topic."""

    topic: str
    group: str
    agent: str


def make_app(
    settings: Settings, reading: Reading, instance: str, offsets: NextOffsets, receive: Receive
) -> CheckpointApp:
    """An app with one agent that hands all records on; it is started and stopped by the caller.

    `receive` must not raise: Faust would drop the record and go on.
    """
    app = CheckpointApp(
        reading.group,
        env={},  # else BROKER_URL, APP_VERSION, WEB_PORT and 80 others, which are not meant for us, win over what follows
        broker=[f"aiokafka://{server}" for server in settings.kafka_bootstrap.split(",")],
        broker_credentials=_credentials(settings),
        broker_session_timeout=SESSION_SECONDS,
        broker_heartbeat_interval=HEARTBEAT_SECONDS,
        broker_max_poll_interval=POLL_SECONDS_MAX,
        # one name per process: after kill -9 the successor gets the partitions at once, not after the session
        consumer_group_instance_id=instance,
        consumer_auto_offset_reset="earliest",
        store="memory://",
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        stream_wait_empty=False,
        stream_buffer_maxsize=BUNDLES_MAX,
        broker_max_poll_records=BUNDLED_MAX,
        cython_optimizations=True,
        TableManager=NoTables,
    )
    app.next_offsets = offsets
    app.read_topic = reading.topic
    app.fetched = {}
    app.failed = asyncio.get_running_loop().create_future()
    topic = app.topic(reading.topic, key_serializer="raw", value_serializer="raw", acks=False)

    async def hand_on(stream: StreamT[list[ConsumerRecord[bytes, bytes]]]) -> None:
        async for event in stream.events():
            await receive([Record(r.partition, r.offset, r.value or b"") for r in event.value])

    app.agent(topic, name=reading.agent, concurrency=1)(hand_on)
    return app


def _credentials(settings: Settings) -> faust.SASLCredentials | faust.SSLCredentials | None:
    context = ssl_context(settings)
    if settings.kafka_security_protocol.startswith("SASL"):
        return faust.SASLCredentials(
            mechanism=settings.kafka_sasl_mechanism,
            username=settings.kafka_sasl_username,
            password=settings.kafka_sasl_password.get_secret_value(),
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context is not None else None
