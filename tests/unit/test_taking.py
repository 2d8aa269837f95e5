"""Intake's batches on fakes: what is checked off is decided, and what cannot be goes aside first."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from prometheus_client import REGISTRY

from events.codec import micros
from events.commands import Command
from events.replies import Outcome, Reply
from services.ends import Seen
from services.inbox import Inbox
from services.intake import settling
from services.intake.table import Name, Waiting
from services.intake.taking import Taking
from services.reading import Record
from tests.unit.taking import checked_off

PERSON = {"customer_id": "cus_1", "name": "Mai", "email": "m@example.com"}
PAYMENT = {"payment_id": "pay_1", "customer": PERSON, "currency": "USD", "total_amount": 5}
NOW = micros("2026-11-23T10:00:00.000000Z")
DISPUTE = {"dispute_id": "dp_1", "payment_id": "pay_1", "amount": "5"}


def record(offset: int, kind: str, data: dict[str, Any], partition: int = 0) -> Record:
    whole = {"business_id": "b", "type": kind, "timestamp": "2026-11-23T10:00:00Z", "data": data}
    return Record(partition, offset, json.dumps(whole).encode())


class Ends:
    """Table, ledger and coffin in one; `seen` is what happened in its order."""

    def __init__(self, outcome: Outcome = Outcome.APPLIED) -> None:
        self.outcome = outcome
        self.away: set[int] = set()
        self.asking: Counter[int] = Counter()
        """Facts that are out, by shard."""
        self.gates: list[asyncio.Event] = []
        self.late: list[Waiting] = []
        self.seen: list[str] = []
        self.commands: list[Command] = []
        self.payments: dict[Name, str] = {}
        self.waiting: list[Waiting] = []
        self.offsets: dict[int, int] = {}

    def shard(self, command: Command) -> int:
        return int(command.subject.removeprefix("cus_")) if command.subject[4:].isdecimal() else 0

    async def ask(self, commands: Sequence[Command]) -> list[Reply]:
        shard = self.shard(commands[0])
        self.asking[shard] += len(commands)
        while shard in self.away:  # noqa: ASYNC110 - on state
            await asyncio.sleep(0.001)
        self.asking[shard] -= len(commands)
        if self.gates:
            await self.gates.pop(0).wait()
        self.seen.append("asked")
        self.commands += commands
        return [Reply(correlation="", outcome=self.outcome) for _ in commands]

    async def bury(self, record: Record, code: str, message: str) -> None:
        self.seen.append(f"buried {code}")

    async def next_offsets(self) -> dict[int, int]:
        return self.offsets

    async def begin_again(self, next_offsets: Mapping[int, int]) -> None:
        self.offsets = self.offsets | dict.fromkeys(next_offsets, 0)

    async def customers(self, names: Iterable[Name]) -> dict[Name, str]:
        return {name: self.payments[name] for name in names if name in self.payments}

    async def waiting_for(self, names: Iterable[Name]) -> list[Waiting]:
        wanted = set(names)
        return [one for one in self.waiting if one.name in wanted]

    async def overdue(self, seconds: float) -> list[Waiting]:
        return self.late

    async def count_waiting(self) -> int:
        return len(self.waiting)

    async def remember(self, payments: Mapping[Name, str]) -> None:
        self.payments = {**payments, **self.payments}

    async def park(self, waiting: Sequence[Waiting]) -> None:
        self.waiting += waiting

    async def check_off(self, next_offsets: Mapping[int, int], done: Sequence[Waiting]) -> None:
        self.seen.append("checked off")
        self.waiting = [one for one in self.waiting if one not in done]
        self.offsets |= next_offsets

    def taking(self, inbox: Inbox) -> Taking:
        return Taking(inbox, self, self, self, "live", 60, lambda: NOW)  # type: ignore[arg-type]

    async def take(self, records: Sequence[Record]) -> None:
        """By a process that has just started."""
        inbox = Inbox()
        await checked_off(self.taking(inbox), inbox, records)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Inbox]:
        """As the process runs: what is put in is taken and settled."""
        inbox = Inbox()
        taking = self.taking(inbox)
        work = asyncio.ensure_future(taking.work_forever())
        yield inbox
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work


async def test_nothing_is_checked_off_before_its_outcome_is_seen() -> None:
    ends = Ends()
    ends.away = {1}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await ends.take([record(0, "payment.succeeded", PAYMENT)])
    assert (ends.seen, ends.offsets) == ([], {})
    ends = Ends()
    await ends.take([record(0, "payment.succeeded", PAYMENT), record(7, "payout.created", {}, 1)])
    assert (ends.seen, ends.offsets) == (["asked", "checked off"], {0: 1, 1: 8})


async def test_a_dispute_waits_for_its_payment_and_goes_with_it() -> None:
    ends = Ends()
    await ends.take([record(0, "dispute.opened", DISPUTE)])
    assert (ends.seen, len(ends.waiting)) == (["checked off"], 1)
    await ends.take([record(1, "payment.succeeded", PAYMENT)])
    assert [(one.type, one.subject) for one in ends.commands] == [
        ("payment.record.v1", "cus_1"),
        ("dispute.record.v1", "cus_1"),
    ]
    assert ends.waiting == []
    await ends.take([record(2, "dispute.won", DISPUTE)])
    assert ends.commands[-1].subject == "cus_1"


async def test_a_dispute_and_its_payment_in_one_batch() -> None:
    ends = Ends()
    await ends.take([record(0, "dispute.opened", DISPUTE), record(1, "payment.succeeded", PAYMENT)])
    assert ([one.subject for one in ends.commands], ends.waiting) == (["cus_1", "cus_1"], [])


async def test_only_what_is_told_of_a_payment_says_whose_it_is() -> None:
    """A licence key may be a gift, and of a type that nobody knows nothing is known."""
    gift = {"id": "lic_1", "payment_id": "pay_1", "customer_id": "cus_gift", "key": "k"}
    ends = Ends()
    await ends.take([record(0, "license_key.created", gift), record(1, "gift.given", gift)])
    assert ends.payments == {}
    await ends.take([record(2, "payment.succeeded", PAYMENT), record(3, "dispute.opened", DISPUTE)])
    assert [one.subject for one in ends.commands] == ["cus_gift", "cus_gift", "cus_1", "cus_1"]


@pytest.mark.parametrize("together", [True, False])
async def test_a_payment_has_one_customer_for_all_time(together: bool) -> None:
    """Under a second one its money would move a second time."""
    other = {"customer": {"customer_id": "cus_2"}}
    refund = {"refund_id": "ref_1", "payment_id": "pay_1", "amount": 1}
    records = [
        record(0, "payment.succeeded", PAYMENT),
        record(1, "payment.succeeded", PAYMENT | other),
        record(2, "refund.succeeded", refund | other),
        record(3, "refund.succeeded", refund),
    ]
    ends = Ends()
    for batch in [records] if together else [[one] for one in records]:
        await ends.take(batch)
    assert [(one.type, one.subject) for one in ends.commands] == [
        ("payment.record.v1", "cus_1"),
        ("refund.record.v1", "cus_1"),
    ]
    assert [one for one in ends.seen if one.startswith("buried")] == ["buried CUSTOMER_CHANGED"] * 2
    assert ends.offsets == {0: 4}


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.MALFORMED, Outcome.KEY_REUSED])
async def test_what_the_ledger_cannot_take_is_put_aside_first(outcome: Outcome) -> None:
    ends = Ends(outcome)
    await ends.take([record(0, "payment.succeeded", PAYMENT), Record(0, 1, b"{")])
    assert ends.seen == ["buried NOT_JSON", "asked", f"buried {outcome.value.upper()}", "checked off"]


async def test_a_repeat_is_the_same_command() -> None:
    ends = Ends(Outcome.UNCHANGED)
    for offset in (0, 5):
        await ends.take([record(offset, "payment.succeeded", PAYMENT)])
    first, second = ends.commands
    assert first == second


async def _turns() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_the_next_batch_is_asked_while_one_is_and_checked_off_behind_it() -> None:
    ends = Ends()
    first, second = asyncio.Event(), asyncio.Event()
    ends.gates = [first, second]
    async with ends.running() as inbox:
        await inbox.put([record(0, "payment.succeeded", PAYMENT)])
        await _turns()
        await inbox.put([record(1, "payment.failed", PAYMENT)])
        await _turns()
        assert ends.gates == [], "both are asked"
        second.set()
        await _turns()
        assert (len(ends.commands), ends.offsets) == (1, {}), "the first has no outcome yet"
        first.set()
        await _turns()
    assert ends.offsets == {0: 2}
    assert ends.seen == ["asked", "asked", "checked off", "checked off"]


async def paid(inbox: Inbox, offset: int, customer: str, partition: int = 0) -> None:
    data = PAYMENT | {"payment_id": f"pay_{partition}_{offset}", "customer": {"customer_id": customer}}
    await inbox.put([record(offset, "payment.succeeded", data, partition)])


async def until(ends: Ends, offsets: dict[int, int]) -> None:
    async with asyncio.timeout(5):
        while ends.offsets != offsets:  # noqa: ASYNC110 - on state
            await asyncio.sleep(0.001)


async def test_a_shard_that_gives_no_outcome_keeps_nobody_else_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And holds the checkpoints before its own records only."""
    monkeypatch.setattr(settling, "PATIENCE_SECONDS", 0.01)
    ends = Ends()
    ends.away = {2}
    async with ends.running() as inbox:
        for offset in range(40):
            await paid(inbox, offset, "cus_1")
            await paid(inbox, offset, "cus_2" if offset >= 10 else "cus_1", partition=1)
            await _turns()
        await until(ends, {0: 40, 1: 10})
        assert {one.subject for one in ends.commands} == {"cus_1"}
        # what was out when it fell silent, and then no more: it may only be slow, and all that is out is sent again
        assert 0 < ends.asking[2] <= 5
        ends.away = set()
        await until(ends, {0: 40, 1: 40})
    assert [one.subject for one in ends.commands].count("cus_2") == 30


async def test_of_what_has_no_outcome_not_more_is_held_than_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(settling, "LATE_BYTES_MAX", 5_000)
    ends, inbox = Ends(), Inbox()
    ends.away = {2}
    taking = ends.taking(inbox)
    work = asyncio.ensure_future(taking.work_forever())
    for offset in range(20):
        await paid(inbox, offset, "cus_2")
        await asyncio.sleep(0.02)
    held = sum(part.size for part in taking._settling._late)
    assert 5_000 <= held < 10_000, "and what was on its way when it was full"
    assert [*taking.late()] == [2]
    await paid(inbox, 0, "cus_1", partition=1)
    ends.away = set()
    await until(ends, {0: 20, 1: 1})
    assert taking.late() == {}
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


async def test_what_waited_for_its_payment_is_kept_until_its_shard_has_decided(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settling, "PATIENCE_SECONDS", 0.01)
    ends = Ends()
    await ends.take([record(0, "dispute.opened", DISPUTE)])
    ends.away = {1}
    async with ends.running() as inbox:
        await inbox.put([record(0, "payment.succeeded", PAYMENT, 1)])
        await paid(inbox, 0, "cus_3", partition=2)
        await until(ends, {0: 1, 1: 0, 2: 1})
        assert [one.offset for one in ends.waiting] == [0]
        ends.away = set()
        await until(ends, {0: 1, 1: 1, 2: 1})
    assert ends.waiting == []


async def test_what_fails_while_its_shard_is_late_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "PATIENCE_SECONDS", 0.01)
    ends, inbox = Ends(), Inbox()

    async def fail(commands: Sequence[Command]) -> list[Reply]:
        await asyncio.sleep(0.05)
        raise ConnectionError

    ends.ask = fail  # type: ignore[method-assign]
    await paid(inbox, 0, "cus_1")
    async with asyncio.timeout(1):
        with pytest.raises(ConnectionError):
            await ends.taking(inbox).work_forever()
    assert ends.offsets.get(0, 0) == 0


async def test_a_dispute_meets_a_payment_that_is_still_being_asked() -> None:
    for kinds in ("payment.succeeded", "dispute.opened"), ("dispute.opened", "payment.succeeded"):
        ends = Ends()
        gate = asyncio.Event()
        ends.gates = [gate]
        data: dict[str, dict[str, Any]] = {"payment.succeeded": PAYMENT, "dispute.opened": DISPUTE}
        async with ends.running() as inbox:
            for offset, kind in enumerate(kinds):
                await inbox.put([record(offset, kind, data[kind])])
                await _turns()
            gate.set()
            await _turns()
        assert sorted(one.type for one in ends.commands) == ["dispute.record.v1", "payment.record.v1"]
        assert {one.subject for one in ends.commands} == {"cus_1"}
        assert (ends.waiting, ends.offsets) == ([], {0: 2})


async def test_a_ledger_that_fails_ends_the_work() -> None:
    ends = Ends()

    async def fail(commands: Sequence[Command]) -> list[Reply]:
        raise ConnectionError

    ends.ask = fail  # type: ignore[method-assign]
    inbox = Inbox()
    taking = ends.taking(inbox)
    await inbox.put([record(0, "payment.succeeded", PAYMENT)])
    async with asyncio.timeout(1):
        with pytest.raises(ConnectionError):
            await taking.work_forever()
    assert ends.offsets == {}


async def test_what_is_overdue_is_looked_at_once_more_before_it_is_put_aside() -> None:
    """Two processes may have joined a dispute and its payment at the same moment."""
    ends = Ends()
    name = Name("b", "live", "pay_1")
    late = Waiting(0, 7, name, record(7, "dispute.opened", DISPUTE).value)
    ends.waiting, ends.late, ends.payments = [late], [late], {name: "cus_1"}
    async with ends.running():
        await _turns()
    assert [(one.type, one.subject) for one in ends.commands] == [("dispute.record.v1", "cus_1")]
    assert (ends.waiting, ends.seen) == ([], ["asked", "checked off"])
    ends.waiting, ends.late, ends.payments, ends.seen = [late], [late], {}, []
    async with ends.running():
        await _turns()
    assert ends.seen == ["buried PAYMENT_UNKNOWN", "checked off"]


async def test_what_is_overdue_is_put_aside_once_while_the_ledger_is_away() -> None:
    """Each time would be an alarm. The table holds it until what was asked before is decided."""
    ends = Ends()
    ends.away = {1}
    ends.late = [Waiting(0, 7, Name("b", "live", "pay_1"), record(7, "dispute.opened", DISPUTE).value)]
    taking = Taking(Inbox(), ends, ends, ends, "live", 60, lambda: NOW)  # type: ignore[arg-type]
    for _ in range(3):
        await taking._settle_overdue()
    assert ends.seen == ["buried PAYMENT_UNKNOWN"]


async def test_a_payment_that_another_process_tells_of_while_its_dispute_is_parked_is_not_waited_for() -> (
    None
):
    """The other one has looked for what waits before this dispute did."""
    ends, name = Ends(), Name("b", "live", "pay_1")
    park = ends.park

    async def told_meanwhile(waiting: Sequence[Waiting]) -> None:
        await ends.remember({name: "cus_1"})
        await park(waiting)

    ends.park = told_meanwhile  # type: ignore[method-assign]
    await ends.take([record(0, "dispute.opened", DISPUTE)])
    assert [(one.type, one.subject) for one in ends.commands] == [("dispute.record.v1", "cus_1")]
    assert (ends.waiting, ends.seen) == ([], ["asked", "checked off"])


async def test_what_waits_is_of_the_mode_that_it_was_parked_under() -> None:
    """The setting that says it where a record does not may have changed since."""
    ends, name = Ends(), Name("b", "live", "pay_1")
    ends.waiting = [Waiting(0, 7, name, record(7, "dispute.opened", DISPUTE).value)]
    inbox = Inbox()
    taking = Taking(inbox, ends, ends, ends, "test", 60, lambda: NOW)  # type: ignore[arg-type]
    payment = record(8, "payment.succeeded", PAYMENT)
    value = json.dumps({**json.loads(payment.value), "mode": "live"}).encode()
    await checked_off(taking, inbox, [payment._replace(value=value)])
    assert [(one.type, one.mode) for one in ends.commands] == [
        ("payment.record.v1", "live"),
        ("dispute.record.v1", "live"),
    ]


async def test_what_waits_and_is_not_understood_any_more_is_put_aside() -> None:
    """Who parked it may have been an older release, which took more."""
    ends, name = Ends(), Name("b", "live", "pay_1")
    waiting = Waiting(0, 7, name, b"{}")
    ends.waiting = [waiting]
    await ends.take([record(8, "payment.succeeded", PAYMENT)])
    assert [one.type for one in ends.commands] == ["payment.record.v1"]
    assert (ends.waiting, ends.seen) == ([], ["buried NOT_AN_EVENT", "asked", "checked off"])
    ends.waiting, ends.late, ends.seen = [waiting], [waiting], []
    await ends.taking(Inbox())._settle_overdue()
    assert ends.seen == ["buried NOT_AN_EVENT"]


class Topic:
    """How long its partitions are; 0 has no leader."""

    def __init__(self, fault: type[Exception] | None = None, **ends: int) -> None:
        self.ends = {int(name[1:]): end for name, end in ends.items()}
        self.fault = fault

    async def seen(self, partitions: Collection[int]) -> Seen:
        if self.fault is not None:
            raise self.fault
        return Seen({one: end for one, end in self.ends.items() if one in partitions}, {0: "no leader"})

    async def close(self) -> None: ...


async def test_a_partition_that_ends_before_its_checkpoint_was_made_anew() -> None:
    """The higher number would skip what is read of it now."""
    ends = Ends()
    ends.offsets = {0: 40, 1: 40, 2: 40, 3: 40}
    taking = ends.taking(Inbox())
    loaded = await taking.load(Topic(p1=39, p2=40, p3=90))  # type: ignore[arg-type]
    assert loaded == taking.next_offsets == ends.offsets == {0: 40, 1: 0, 2: 40, 3: 40}


@pytest.mark.parametrize("fault", [KafkaConnectionError, TimeoutError])
async def test_where_kafka_does_not_say_how_long_it_is_nothing_is_read_again(fault: type[Exception]) -> None:
    ends = Ends()
    ends.offsets = {1: 40}
    assert await ends.taking(Inbox()).load(Topic(fault)) == ends.offsets == {1: 40}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("timestamp", "updated_at", "seen"),
    [
        pytest.param("2026-11-24T10:00:00Z", "2026-11-24T10:00:00Z", ["asked", "checked off"], id="a day"),
        pytest.param("2026-11-24T10:00:00.000001Z", None, ["buried TIME_AHEAD", "checked off"], id="more"),
        pytest.param("9999-12-31T23:59:59Z", None, ["buried TIME_AHEAD", "checked off"], id="for ever"),
        pytest.param("2026-11-23T10:00:00Z", "2062-11-23T10:00:00Z", ["buried TIME_AHEAD", "checked off"],
                     id="the object's own word"),
    ],
)  # fmt: skip
async def test_news_of_days_to_come_would_hide_all_news_until_then(
    timestamp: str, updated_at: str | None, seen: list[str]
) -> None:
    ends, told = Ends(), record(0, "payment.succeeded", PAYMENT | {"updated_at": updated_at})
    value = json.dumps({**json.loads(told.value), "timestamp": timestamp}).encode()
    await ends.take([told._replace(value=value)])
    assert ends.seen == seen


async def test_every_record_is_counted_by_its_type_and_by_what_became_of_it() -> None:
    def counted() -> list[float]:
        types = ("payment.succeeded", "payout.created", "unknown")
        samples = [("wallet_ledger_intake_types_total", {"type": kind}) for kind in types]
        samples += [("wallet_ledger_intake_records_total", {"outcome": one}) for one in ("applied", "passed")]
        return [REGISTRY.get_sample_value(name, labels) or 0 for name, labels in samples]

    before = counted()
    payments = [
        record(offset, "payment.succeeded", PAYMENT | {"payment_id": f"p{offset}"}) for offset in (0, 1)
    ]
    others = [record(2, "payout.created", {}), record(3, "moon.risen", {"customer": PERSON})]
    await Ends().take([*payments, *others])
    assert [after - old for after, old in zip(counted(), before, strict=True)] == [2, 1, 1, 3, 1]
