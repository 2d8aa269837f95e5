"""A week of the played business through intake's own code and the deciders: wallets are what its own books say.

The full form, on real servers and for a month, is `tests/integration/test_played.py`.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import pytest
from msgspec.structs import replace

from events.codec import decode_envelope, decode_fact, encode_command
from events.commands import Command
from events.facts import Movement, WalletCredited, WalletShortfallRecorded
from events.replies import Reply
from events.sharding import shard_of
from services.inbox import Inbox
from services.intake.table import Name, Waiting
from services.intake.taking import Taking
from services.ledger.batches import admission
from services.ledger.batches.admission import Asked
from services.ledger.domain.customer import Customer
from services.ledger.domain.foreign import Foreign
from services.ledger.ports import CommandRecord
from services.reading import Record
from services.upstream.books import Books
from services.upstream.business import Business
from services.upstream.trade import DAY
from services.upstream.world import CLEAN, Delivery, Trouble
from tests import seeds
from tests.unit.ledger.deck import SHARDS, Deck, replies
from tests.unit.taking import checked_off

START = 1_790_000_000_000_000
FAR = 2 * START
OPEN = ("USD", "INR")
BATCH = 200


class Core:
    """Ledger, table and coffin of intake in memory; what is decided is decided by the real deciders."""

    def __init__(self) -> None:
        self.deck = Deck()
        self.balances: Counter[tuple[str, str]] = Counter()
        self.shortfalls = 0
        self.buried: list[str] = []
        self._payments: dict[Name, str] = {}
        self._waiting: list[Waiting] = []
        self._offsets = dict.fromkeys(range(SHARDS), 0)

    async def take(self, deliveries: Sequence[Delivery]) -> None:
        inbox = Inbox()
        taking = Taking(inbox, self, self, self, "test", 60, lambda: FAR)  # type: ignore[arg-type]
        for begin in range(0, len(deliveries), BATCH):
            batch = deliveries[begin : begin + BATCH]
            await checked_off(taking, inbox, [Record(0, begin + n, one.value) for n, one in enumerate(batch)])
        assert self._waiting == []

    def shard(self, command: Command) -> int:
        return 0

    async def ask(self, commands: Sequence[Command]) -> list[Reply]:
        """Each once by its id, as intake asks."""
        asked = {command.id: self._asked(command) for command in commands}
        batch = self.deck.play(*asked.values())
        for event in batch.events:
            envelope = decode_envelope(event.value)
            fact = decode_fact(envelope)
            if isinstance(fact, Movement):
                sign = 1 if isinstance(fact, WalletCredited) else -1
                self.balances[(envelope.subject, fact.currency)] += sign * fact.amount
            self.shortfalls += isinstance(fact, WalletShortfallRecorded)
        outcome = dict(zip(asked, replies(batch), strict=True))
        return [outcome[command.id] for command in commands]

    def _asked(self, command: Command) -> Asked:
        shard = shard_of(command.subject, SHARDS)
        addressed = replace(command, replyto=f"0/{len(self.deck.receipts):032x}")
        record = CommandRecord(shard, self._offsets[shard], encode_command(addressed))
        self._offsets[shard] += 1
        found = admission.read(record, SHARDS, self.deck.now, available=True)
        assert isinstance(found, Asked), found
        self.deck.keys.setdefault(found.key.stream, bytes(32))
        return found

    async def bury(self, record: Record, code: str, message: str) -> None:
        self.buried.append(code)

    async def customers(self, names: Iterable[Name]) -> dict[Name, str]:
        return {name: self._payments[name] for name in names if name in self._payments}

    async def waiting_for(self, names: Iterable[Name]) -> list[Waiting]:
        wanted = set(names)
        return [one for one in self._waiting if one.name in wanted]

    async def overdue(self, seconds: float) -> list[Waiting]:
        return []

    async def count_waiting(self) -> int:
        return len(self._waiting)

    async def remember(self, payments: Mapping[Name, str]) -> None:
        self._payments = {**payments, **self._payments}

    async def park(self, waiting: Sequence[Waiting]) -> None:
        self._waiting += waiting

    async def check_off(self, next_offsets: Mapping[int, int], done: Sequence[Waiting]) -> None:
        self._waiting = [one for one in self._waiting if one not in done]

    def states(self) -> dict[object, object]:
        """All that is decided on, without what counts events."""
        return {
            name: (state.stamps, state.payment, state.refunds, state.disputes, moved(state))
            if isinstance(state, Foreign)
            else {code: amount for code, amount in state.balances.items() if amount}
            for name, state in self.deck.customers.items()
            if isinstance(state, Foreign | Customer)
        }


def moved(state: Foreign) -> dict[str, int]:
    return {key: booked.moved for key, booked in state.booked.items() if booked.moved}


def week(trouble: Trouble, seed: int = 14) -> tuple[list[Delivery], Books]:
    """All news of a week, also what is still on its way. Refunds bounce in it, disputes are cancelled and lost."""
    business = Business(seed, "bus_dev", "test", START, 60, trouble, joining=2 * DAY)
    letters = [*business.world.play(START + 7 * DAY), *business.world.drain()]
    return [one for one in letters if isinstance(one, Delivery)], business.world.books


async def taken(deliveries: Sequence[Delivery]) -> Core:
    core = Core()
    await core.take(deliveries)
    assert (core.buried, core.shortfalls) == ([], 0)
    return core


def by_the_books(books: Books) -> dict[tuple[str, str], int]:
    return {purse: amount for purse, amount in books.wallets.items() if amount and purse[1] in OPEN}


async def test_wallets_are_what_the_business_has_in_its_books() -> None:
    clean, books = week(CLEAN)
    core = await taken(clean)
    assert +core.balances == by_the_books(books)
    assert core.balances.total() > 0


async def test_shuffled_and_repeated_it_comes_to_the_same() -> None:
    chance = random.Random(seeds.chosen())
    clean, books = week(CLEAN)
    mixed = clean + chance.sample(clean, len(clean) // 10)
    chance.shuffle(mixed)
    core = await taken(mixed)
    assert core.states() == (await taken(clean)).states()
    assert +core.balances == by_the_books(books)


async def test_late_twice_and_with_the_newest_state_it_comes_to_the_same() -> None:
    troubled, books = week(Trouble())
    assert +(await taken(troubled)).balances == by_the_books(books) == by_the_books(week(CLEAN)[1])


async def test_the_books_notice_a_rule_that_gives_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ledger.domain.rules.NO_LONGER_HELD", frozenset({"dispute_won"}))
    clean, books = week(CLEAN)
    assert +(await taken(clean)).balances != by_the_books(books)
