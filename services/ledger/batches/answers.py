"""Answers on their way out: after the commit, and if so configured after the publish."""

import asyncio
from collections.abc import Iterable, Sequence

from events.codec import encode_reply
from events.ids import parse_position
from services.ledger.batches.outcomes import Answer
from services.ledger.ports import Broker
from services.ledger.relay.relay import Relay

UNANSWERED_MAX = 1_000
WAIT_SECONDS = 1.0


class Answers:
    """`acknowledge_topic`: an answer waits until the topic has what it speaks of."""

    def __init__(self, broker: Broker, relay: Relay, acknowledge_topic: bool) -> None:
        self._broker = broker
        self._relay = relay
        self._acknowledge_topic = acknowledge_topic
        self._waiting: set[asyncio.Task[None]] = set()

    async def give(self, answers: Sequence[Answer]) -> None:
        """Hand over what a committed batch answers; waits only while too much waits already."""
        if not self._acknowledge_topic:
            self._send(answers)
            return
        for group in _by_shard(answers):
            if not (positions := self._unpublished(group)):
                self._send(group)
                continue
            task = asyncio.create_task(self._give_when_published(positions, group))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)
        if len(self._waiting) > UNANSWERED_MAX:
            await asyncio.wait(self._waiting, return_when=asyncio.FIRST_COMPLETED, timeout=WAIT_SECONDS)

    async def settle(self) -> None:
        """Wait a moment for those that wait."""
        if self._waiting:
            await asyncio.wait(self._waiting, timeout=WAIT_SECONDS)

    def drop(self) -> None:
        """Say nothing more."""
        for task in self._waiting:
            task.cancel()

    def _unpublished(self, answers: Sequence[Answer]) -> dict[int, int]:
        """What these answers speak of and the topic lacks: a repeated answer speaks of its event, too."""
        positions: dict[int, int] = {}
        for answer in answers:
            if answer.reply.position:
                shard, sequence = parse_position(answer.reply.position)
                if sequence > self._relay.published(shard)[0]:
                    positions[shard] = max(sequence, positions.get(shard, 0))
        return positions

    async def _give_when_published(self, positions: dict[int, int], answers: Sequence[Answer]) -> None:
        await self._relay.wait_published(positions)
        self._send(answers)

    def _send(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            self._broker.reply(int(answer.to.partition("/")[0]), encode_reply(answer.reply))


def _by_shard(answers: Sequence[Answer]) -> Iterable[Sequence[Answer]]:
    """A shard whose events cannot be published keeps no other's answers. Those that speak of no event are one group."""
    groups: dict[str, list[Answer]] = {}
    for answer in answers:
        groups.setdefault(answer.reply.position.partition(":")[0], []).append(answer)
    return groups.values()
