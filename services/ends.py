"""Where a topic ends, for a watch: asked by a client of its own, and of each leader apart, so that one partition that gives
no answer holds up nothing else. Faust's thread has two workers, and a question that is not answered keeps one for ever."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError

from services.kafka import ISOLATION_LEVEL, client_options, ended
from services.settings import Settings

ANSWER_SECONDS_MAX = 2.0
"""For each of two questions: a projector beats with each look, and is taken for gone after 5 s without a beat."""
NO_LEADER = -1


class Seen(NamedTuple):
    """By partition, the offset behind the last record; or why nobody says it."""

    ends: dict[int, int]
    silent: dict[int, str]


class Ends:
    """After anything that was not answered the next question comes from a new client: where Kafka answers, it has one."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._options = client_options(settings)
        self._topic = topic
        self._consumer: AIOKafkaConsumer | None = None

    async def seen(self, partitions: Collection[int]) -> Seen:
        """
        Raises:
            KafkaError, TimeoutError: Kafka does not answer.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                consumer = await self._with_leaders()
        except (KafkaError, TimeoutError):
            await self.close()
            raise
        led: dict[int, list[TopicPartition]] = defaultdict(list)
        seen = Seen({}, {})
        for partition in (TopicPartition(self._topic, number) for number in partitions):
            leader = consumer._client.cluster.leader_for_partition(partition)
            if leader is None or leader == NO_LEADER:
                seen.silent[partition.partition] = "no leader"
            else:
                led[leader].append(partition)
        answers = await asyncio.gather(*(_asked(consumer, wanted, seen) for wanted in led.values()))
        if not all(answers):
            await self.close()
        return seen

    async def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with suppress(KafkaError, TimeoutError):
                await ended(consumer)

    async def _with_leaders(self) -> AIOKafkaConsumer:
        """Knows who leads what as of now."""
        if self._consumer is None:
            self._consumer = AIOKafkaConsumer(group_id=None, isolation_level=ISOLATION_LEVEL, **self._options)
            await self._consumer.start()
            self._consumer._client.add_topic(self._topic)  # of no other: all of them may be thousands
        if not await self._consumer._client.force_metadata_update():
            raise KafkaConnectionError("nobody says who leads what")
        return self._consumer


async def _asked(consumer: AIOKafkaConsumer, wanted: Sequence[TopicPartition], seen: Seen) -> bool:
    """Whether the leader of all of these answers."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            found = await consumer.end_offsets(wanted)
    except (KafkaError, TimeoutError) as error:
        why = f"its leader does not answer: {type(error).__name__}"
        seen.silent.update({partition.partition: why for partition in wanted})
        return False
    seen.ends.update({partition.partition: end for partition, end in found.items()})
    return True
