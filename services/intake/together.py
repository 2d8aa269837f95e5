"""Facts of one shard travel as one record: producer, broker, worker and reply cost per record, not per fact."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from msgspec import UNSET
from msgspec.structs import replace

from events.codec import encode_ask
from events.commands import BulkFact, Command, RecordInBulk
from events.replies import Outcome, Reply
from events.sharding import shard_of

FACTS_MAX = 100
BYTES_MAX = 160 * 1024
ATTRIBUTES_BYTES = 512
"""Of a fact in a record besides its data, at most about."""
LATER = {Outcome.UNAVAILABLE, Outcome.LATE}


class Asker(Protocol):
    """Sends commands; each call returns only with every outcome."""

    async def ask(self, commands: Sequence[Command]) -> list[Reply]: ...


class Ledger(Asker, Protocol):
    """Where commands go, and which shard decides each."""

    def shard(self, command: Command) -> int: ...


class Together:
    """Implements `Ledger` for commands of intake, by way of one that sends them."""

    def __init__(self, asker: Asker, shards: int) -> None:
        self._asker = asker
        self._shards = shards

    def shard(self, command: Command) -> int:
        return shard_of(command.subject, self._shards)

    async def ask(self, commands: Sequence[Command]) -> list[Reply]:
        """A record that is refused as a whole is asked again fact by fact: what is wrong concerns one of them."""
        distinct = {command.id: command for command in commands}
        packs = list(packed(distinct.values(), self._shards))
        found: dict[str, Reply] = {}
        answers = await self._asker.ask([record_of(pack) for pack in packs]) if packs else []
        for pack, reply in zip(packs, answers, strict=True):
            if len(pack) == 1:
                found[pack[0].id] = reply
            elif reply.entries:
                outcomes = zip(pack, reply.entries, strict=True)
                found |= {fact.id: own for fact, own in outcomes if own.outcome not in LATER}
        alone = [command for name, command in distinct.items() if name not in found]
        if alone:
            outcomes = zip(alone, await self._asker.ask(alone), strict=True)
            found |= {command.id: reply for command, reply in outcomes}
        return [found[command.id] for command in commands]


def packed(commands: Iterable[Command], shards: int) -> Iterator[list[Command]]:
    """What may travel as one record, in the order given."""
    homes: defaultdict[int, list[Command]] = defaultdict(list)
    for command in commands:
        homes[shard_of(command.subject, shards)].append(command)
    for home in homes.values():
        pack: list[Command] = []
        size = 0
        for command in home:
            own = len(command.data) + ATTRIBUTES_BYTES
            if pack and (len(pack) == FACTS_MAX or size + own > BYTES_MAX):
                yield pack
                pack, size = [], 0
            pack.append(command)
            size += own
        yield pack


def record_of(pack: Sequence[Command]) -> Command:
    """The same facts make the same record; one alone is an ordinary command."""
    first = pack[0]
    if len(pack) == 1:
        return first
    name = "in-" + hashlib.sha256("".join(command.id for command in pack).encode()).hexdigest()[:40]
    return replace(
        first,
        id=name,
        correlationid=name,
        type=RecordInBulk.TYPE,
        idempotencykey=UNSET,
        effectivetime=UNSET,
        data=encode_ask(RecordInBulk(facts=[_fact(command) for command in pack])),
    )


def _fact(command: Command) -> BulkFact:
    assert command.idempotencykey is not UNSET, "a fact is known by its key"
    return BulkFact(
        subject=command.subject,
        businessid=command.businessid,
        mode=command.mode,
        idempotencykey=command.idempotencykey,
        type=command.type,
        data=command.data,
    )
