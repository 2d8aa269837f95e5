"""Which shards this worker owns: its share, refused where the topic does not fit, read on where it was left."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple

import structlog
from msgspec.structs import replace

from services.ledger import metrics
from services.ledger.batches import admission
from services.ledger.ports import Broker, CommandRecord, Peers, ShardRow, Store
from services.ledger.relay.relay import Relay

log = structlog.get_logger()

REFUSED_SECONDS = 10.0
LEADERLESS_SECONDS = 2.0
KEPT_SECONDS = 10.0
HELD_SECONDS = 10.0
LOOK_SECONDS = 0.05
KEEN_LOOK_SECONDS = 0.025
KEEN_SECONDS = 10.0
"""For so long after its share has changed, a worker that lacks shards expects others to hand them back any moment."""


class Held(NamedTuple):
    """A shard waits before the record at `offset`. `unkept`: it cannot be put aside; else it erases, and is too early."""

    offset: int
    unkept: bool


Beating = Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]
"""Awaits something long without losing the session."""


def fair_share(shards: int, peers: Peers) -> int:
    """How many shards are one worker's: all shares differ by one at most, and all together are all shards.

    Others may have in addition what one worker refuses: it may be that worker who is wrong.
    """
    return shards // peers.live + (peers.place < shards % peers.live) + len(peers.refused)


class Ownership:
    """`owned` are the committed shard rows; `refused` the shards not to be tried before a moment of the loop's clock;
    `held` those that wait, each before a record; `heard` when the database answered a heartbeat last."""

    def __init__(self, store: Store, broker: Broker, relay: Relay, shards: int, beating: Beating) -> None:
        self._store = store
        self._broker = broker
        self._relay = relay
        self._shards = shards
        self._beating = beating
        self._untouched: dict[int, int] = {}
        self._kept: dict[int, float] = {}
        self._share = 0
        self._alone = True
        self._looked = self._share_changed = self._held_until = -math.inf
        self._outdated = False
        self._leaderless: set[int] = set()
        self.heard = -math.inf
        self.owned: dict[int, ShardRow] = {}
        self.refused: dict[int, float] = {}
        self.held: dict[int, Held] = {}

    def patience(self, now: float) -> float:
        """Seconds until the next look is due; for ever where the next heartbeat is early enough."""
        if self._alone and len(self.owned) + len(self.refused) >= self._share:
            return math.inf
        keen = len(self.owned) < self._share and now < self._share_changed + KEEN_SECONDS
        return max(0.0, self._looked + (KEEN_LOOK_SECONDS if keen else LOOK_SECONDS) - now)

    async def look(self, now: float) -> list[int]:
        """Learn what this worker's share is; the shards that are too many."""
        self._looked = now
        peers = await self._store.peers()
        share = fair_share(self._shards, peers)
        if share != self._share:
            log.info("share_changed", shards=share, workers=peers.live)
            self._share, self._share_changed = share, now
        self._alone = peers.live == 1
        metrics.WORKERS_LIVE.set(peers.live)
        offered = [shard for shard in sorted(self.owned) if self._kept.get(shard, now) <= now]
        return offered[-surplus:] if (surplus := len(self.owned) - share) > 0 else []

    async def take_free(self, now: float) -> bool:
        """Claim what nobody holds, up to the share; whether the log is read from new places since."""
        taken: list[ShardRow] = []
        for shard in [s for s in self._leaderless if self.refused.get(s, now) <= now]:
            self._leaderless.discard(shard)
            self.refused.pop(shard, None)  # who has its share does not look again: somebody else may have it
        free = [s for s in range(self._shards) if s not in self.owned and self.refused.get(s, now) <= now]
        if free and (lacking := self._share - len(self.owned)) > 0:
            rows = await self._store.claim(free, lacking)
            if len(rows) < lacking:
                self._forget_refusals(set(free) - {row.shard for row in rows})
            taken = await self._take(rows) if rows else []
        metrics.SHARDS_OWNED.set(len(self.owned))
        metrics.SHARDS_REFUSED.set(len(self.refused))
        return bool(taken)

    def keep(self, shards: Collection[int], now: float) -> None:
        """These could not be handed back: others are, for a while. Between two tries the worker works."""
        self._kept |= dict.fromkeys(shards, now + KEPT_SECONDS)
        self._looked = now

    async def give_back(self, shards: Collection[int]) -> None:
        """Whoever wants them may have them: published is noted, then they are unlocked. The others are read on."""
        await self._store.release([self.with_published(self.owned[shard]) for shard in shards])
        for shard in shards:
            del self.owned[shard]
            self._untouched.pop(shard, None)
            self.held.pop(shard, None)
        self._read_on(self.owned)
        metrics.SHARDS_OWNED.set(len(self.owned))
        metrics.HANDOVERS.inc(len(shards))
        log.info("shards_handed_back", shards=sorted(shards))

    def hold(self, shards: Mapping[int, Held], now: float) -> None:
        """These shards wait before these records, until all that wait are read on together."""
        if not self.held:
            self._held_until = now + HELD_SECONDS
        self.held |= shards
        self._outdated = True

    def waits(self, record: CommandRecord) -> bool:
        """Whether it may not be taken yet."""
        held = self.held.get(record.shard)
        return held is not None and record.offset >= held.offset

    def listen(self, now: float) -> bool:
        """Read on without those that wait, and with them in the end; whether that is new."""
        if self.held and now >= self._held_until:
            self.held = {}
            self._outdated = True
        if outdated := self._outdated:
            self._read_on(self.owned)
        return outdated

    def merge(self, committed: dict[int, ShardRow]) -> None:
        """Rows as a committed batch left them."""
        self.owned.update(committed)
        for shard in committed:
            self._untouched.pop(shard, None)

    def with_published(self, row: ShardRow) -> ShardRow:
        """The row with what the relay knows now."""
        sequence, offset = self._relay.published(row.shard)
        return replace(row, published_sequence=sequence, published_offset=offset)

    async def heartbeat(self, forget_before: int) -> int:
        """See `ports.Store.heartbeat`."""
        rows = [self.with_published(row) for row in self.owned.values()]
        server = await self._store.heartbeat(rows, self.refused, forget_before)
        self.heard = asyncio.get_running_loop().time()
        return server

    def _forget_refusals(self, held_by_others: set[int]) -> None:
        """Somebody else found the shard in order. A worker that owns nothing holds on to its opinion: it may be it
        that is wrong, and would else get the shard back, again and again."""
        if self.owned:
            for shard in held_by_others:
                self.refused.pop(shard, None)

    async def _take(self, rows: Sequence[ShardRow]) -> list[ShardRow]:
        leaderless = await self._beating(self._broker.leaderless([row.shard for row in rows]))
        if leaderless:
            log.warning(
                "topic_leaderless", shards=sorted(leaderless), action="not owned until there is a leader"
            )
        taken = await self._beating(self._relay.take_over([r for r in rows if r.shard not in leaderless]))
        refused = [row for row in rows if row not in taken]
        self._leaderless |= leaderless
        if refused:
            await self._store.release(refused)
            now = asyncio.get_running_loop().time()  # to look may have taken long: the others work in between
            self.refused |= {
                row.shard: now + (LEADERLESS_SECONDS if row.shard in leaderless else REFUSED_SECONDS)
                for row in refused
            }
        self._untouched |= await self._beating(self._starts(taken))
        self.owned.update({row.shard: row for row in taken})
        for row in taken:
            self.refused.pop(row.shard, None)
        if taken:
            self._read_on(self.owned)
            metrics.TAKEOVERS.inc(len(taken))
            log.info("shards_taken", shards=sorted(row.shard for row in taken))
        return list(taken)

    def _read_on(self, shards: Collection[int]) -> None:
        self._outdated = False
        starts = {shard: self.owned[shard].position + 1 for shard in shards if shard not in self.held}
        self._broker.assign(starts | {s: start for s, start in self._untouched.items() if s in starts})

    async def _starts(self, rows: Sequence[ShardRow]) -> dict[int, int]:
        """Where to read on: behind the last command taken, if the log still has that very command there.

        Otherwise from the log's beginning, which is safe: every command has a receipt or is late.
        """
        found = await self._broker.commands_at({row.shard: row.position for row in rows if row.position >= 0})
        known = {
            row.shard: start
            for row in rows
            if (value := found.get(row.shard)) is not None
            and (start := admission.standing(value, row)) is not None
        }
        unknown = [row for row in rows if row.shard not in known]
        for row in unknown:
            if row.position >= 0:
                metrics.POSITIONS_UNVERIFIED.inc()
                log.error("position_unverified", shard=row.shard, action="reading the log from its beginning")
        begins = await self._broker.commands_begin([row.shard for row in unknown]) if unknown else {}
        return known | begins
