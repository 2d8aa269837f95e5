"""Facts of a shard in one record, against a ledger that refuses in all its ways."""

from collections.abc import Sequence

import msgspec
import pytest
from msgspec.structs import replace

from events.codec import COMMAND_BYTES_MAX, encode_command
from events.commands import Command, Origin, RecordInBulk
from events.replies import Outcome, Reply
from events.sharding import shard_of
from services.intake.together import BYTES_MAX, FACTS_MAX, Together, packed, record_of

SHARDS = 4


def fact(number: int, size: int = 10) -> Command:
    return Command(
        id=f"in-{number}",
        source="/intake",
        type="payment.record.v1",
        subject=f"cus_{number % 7}",
        businessid=f"bus_{number % 3}",
        mode="live",
        origin=Origin.INTAKE,
        actor="intake",
        correlationid=f"in-{number}",
        idempotencykey=f"k{number}",
        effectivetime="2026-11-23T10:00:00.000000Z",
        data=msgspec.Raw(b'"' + b"x" * size + b'"'),
    )


class Ledger:
    """Answers facts with their keys; `outcome` is what comes of a record of many, "" what it should be."""

    def __init__(self, whole: Outcome | None = None, some: Outcome | None = None) -> None:
        self.whole = whole
        self.some = some
        self.asked: list[list[Command]] = []

    async def ask(self, commands: Sequence[Command]) -> list[Reply]:
        self.asked.append(list(commands))
        return [self._one(command) for command in commands]

    def _one(self, command: Command) -> Reply:
        if command.type != RecordInBulk.TYPE:
            return Reply(correlation="", outcome=Outcome.APPLIED, code=str(command.idempotencykey))
        if self.whole is not None:
            return Reply(correlation="", outcome=self.whole)
        facts = msgspec.json.decode(command.data, type=RecordInBulk).facts
        own = [Reply(correlation="", outcome=Outcome.APPLIED, code=one.idempotencykey) for one in facts]
        if self.some is not None:
            own[0] = replace(own[0], outcome=self.some)
        return Reply(correlation="", outcome=Outcome.APPLIED, entries=own)


async def test_each_fact_gets_its_own_outcome_and_repeats_share_one() -> None:
    ledger = Ledger()
    asked = [fact(number) for number in range(50)] + [fact(3), fact(49)]
    replies = await Together(ledger, SHARDS).ask(asked)
    assert [reply.code for reply in replies] == [f"k{one.id[3:]}" for one in asked]
    [records] = ledger.asked
    assert len(records) <= SHARDS


@pytest.mark.parametrize("whole", [Outcome.MALFORMED, Outcome.FAILED])
async def test_a_record_that_is_refused_is_asked_fact_by_fact(whole: Outcome) -> None:
    ledger = Ledger(whole)
    asked = [fact(number) for number in range(20)]
    replies = await Together(ledger, SHARDS).ask(asked)
    assert [reply.code for reply in replies] == [f"k{number}" for number in range(20)]
    assert {one.id for one in ledger.asked[1]} <= {one.id for one in asked}


@pytest.mark.parametrize("some", [Outcome.LATE, Outcome.UNAVAILABLE])
async def test_what_a_record_left_open_is_asked_again_alone(some: Outcome) -> None:
    ledger = Ledger(some=some)
    replies = await Together(ledger, SHARDS).ask([fact(number) for number in range(20)])
    assert {reply.outcome for reply in replies} == {Outcome.APPLIED}
    assert 0 < len(ledger.asked[1]) <= SHARDS


async def test_nothing_is_asked_of_the_ledger_for_nothing() -> None:
    ledger = Ledger()
    assert await Together(ledger, SHARDS).ask([]) == []
    assert ledger.asked == []


def test_a_record_is_of_one_shard_and_has_its_limits() -> None:
    packs = list(packed([fact(number) for number in range(1_000)], SHARDS))
    assert sum(map(len, packs)) == 1_000
    for pack in packs:
        assert len({shard_of(one.subject, SHARDS) for one in pack}) == 1
        assert len(pack) <= FACTS_MAX
    large = list(packed([fact(0, size=BYTES_MAX // 3) for _ in range(9)], SHARDS))
    assert [len(pack) for pack in large] == [2, 2, 2, 2, 1]
    names = [replace(fact(0, 1), subject="c" * 64, businessid="b" * 128, idempotencykey="\n" * 255)] * 1_000
    for pack in (*large, *packed(names, SHARDS)):
        assert len(encode_command(record_of(pack))) < COMMAND_BYTES_MAX


def test_the_same_facts_make_the_same_record_and_one_alone_is_none() -> None:
    pack = [fact(0), fact(7)]
    assert record_of(pack) == record_of(list(pack))
    assert record_of(pack).id != record_of([fact(0), fact(14)]).id
    assert record_of(pack[:1]) == fact(0)
