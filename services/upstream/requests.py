"""What the ledger asks upstream, as upstream reads it: `payments.requests` from its beginning."""

from types import TracebackType

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from events.for_upstream import RequestEvent
from events.ids import Tenant
from events.topics import REQUESTS
from services.kafka import client_options, ended
from services.settings import Settings

_POLL_MS = 500


class Requests:
    """Those of one tenant. Use it as a context manager."""

    def __init__(self, settings: Settings, tenant: Tenant) -> None:
        self._settings = settings
        self._tenant = tenant

    async def __aenter__(self) -> "Requests":
        options = client_options(self._settings)
        self._consumer = AIOKafkaConsumer(enable_auto_commit=False, auto_offset_reset="earliest", **options)
        await self._consumer.start()
        self._places = [TopicPartition(REQUESTS.name, shard) for shard in range(self._settings.shards)]
        self._consumer.assign(self._places)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await ended(self._consumer)

    async def known(self) -> list[RequestEvent]:
        """All that there are now."""
        ends = await self._consumer.end_offsets(self._places)
        found: list[RequestEvent] = []
        while any([await self._consumer.position(place) < end for place, end in ends.items()]):
            found += await self._read(_POLL_MS)
        return found

    async def news(self) -> list[RequestEvent]:
        """Those that have come since; none is waited for."""
        return await self._read(0)

    async def _read(self, wait_ms: int) -> list[RequestEvent]:
        batches = await self._consumer.getmany(timeout_ms=wait_ms)
        read = [
            msgspec.json.decode(record.value, type=RequestEvent)
            for records in batches.values()
            for record in records
        ]
        return [one for one in read if Tenant(one.businessid, one.mode) == self._tenant]
