"""Intake's batches on fakes: what is checked off is decided, and what cannot be goes aside first."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from events.commands import Command
from events.replies import Outcome, Reply
from services.inbox import Inbox
from services.intake.table import Name, Step, Waiting
from services.intake.taking import Taking
from services.reading import Record

PERSON = {"customer_id": "cus_1", "name": "Mai", "email": "m@example.com"}
PAYMENT = {"payment_id": "pay_1", "customer": PERSON, "currency": "USD", "total_amount": 5}
DISPUTE = {"dispute_id": "dp_1", "payment_id": "pay_1", "amount": "5"}


def record(offset: int, kind: str, data: dict[str, Any], partition: int = 0) -> Record:
    whole = {"business_id": "b", "type": kind, "timestamp": "2026-11-23T10:00:00Z", "data": data}
    return Record(partition, offset, json.dumps(whole).encode())


class Ends:
    """Table, ledger and coffin in one; `seen` is what happened in its order."""

    def __init__(self, outcome: Outcome = Outcome.APPLIED) -> None:
        self.outcome = outcome
        self.away = False
        self.seen: list[str] = []
        self.commands: list[Command] = []
        self.payments: dict[Name, str] = {}
        self.waiting: list[Waiting] = []
        self.offsets: dict[int, int] = {}

    async def ask(self, commands: Sequence[Command]) -> list[Reply]:
        if self.away:
            await asyncio.Future()
        self.seen.append("asked")
        self.commands += commands
        return [Reply(correlation="", outcome=self.outcome) for _ in commands]

    async def bury(self, record: Record, code: str, message: str) -> None:
        self.seen.append(f"buried {code}")

    async def next_offsets(self) -> dict[int, int]:
        return self.offsets

    async def customers(self, names: Iterable[Name]) -> dict[Name, str]:
        return {name: self.payments[name] for name in names if name in self.payments}

    async def waiting_for(self, names: Iterable[Name]) -> list[Waiting]:
        wanted = set(names)
        return [one for one in self.waiting if one.name in wanted]

    async def overdue(self, seconds: float) -> list[Waiting]:
        return []

    async def count_waiting(self) -> int:
        return len(self.waiting)

    async def keep(self, step: Step) -> None:
        self.seen.append("checked off")
        self.payments |= step.payments
        self.waiting = [one for one in self.waiting if one not in step.done] + list(step.waiting)
        self.offsets |= step.next_offsets

    def taking(self) -> Taking:
        return Taking(Inbox(), self, self, self, "live", 60)  # type: ignore[arg-type]


async def test_nothing_is_checked_off_before_its_outcome_is_seen() -> None:
    ends = Ends()
    ends.away = True
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await ends.taking().take([record(0, "payment.succeeded", PAYMENT)])
    assert (ends.seen, ends.offsets) == ([], {})
    ends.away = False
    await ends.taking().take([record(0, "payment.succeeded", PAYMENT), record(7, "payout.created", {}, 1)])
    assert (ends.seen, ends.offsets) == (["asked", "checked off"], {0: 1, 1: 8})


async def test_a_dispute_waits_for_its_payment_and_goes_with_it() -> None:
    ends = Ends()
    await ends.taking().take([record(0, "dispute.opened", DISPUTE)])
    assert (ends.seen, len(ends.waiting)) == (["checked off"], 1)
    await ends.taking().take([record(1, "payment.succeeded", PAYMENT)])
    assert [(one.type, one.subject) for one in ends.commands] == [
        ("payment.record.v1", "cus_1"),
        ("dispute.record.v1", "cus_1"),
    ]
    assert ends.waiting == []
    await ends.taking().take([record(2, "dispute.won", DISPUTE)])
    assert ends.commands[-1].subject == "cus_1"


async def test_a_dispute_and_its_payment_in_one_batch() -> None:
    ends = Ends()
    await ends.taking().take([record(0, "dispute.opened", DISPUTE), record(1, "payment.succeeded", PAYMENT)])
    assert ([one.subject for one in ends.commands], ends.waiting) == (["cus_1", "cus_1"], [])


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.MALFORMED, Outcome.KEY_REUSED])
async def test_what_the_ledger_cannot_take_is_put_aside_first(outcome: Outcome) -> None:
    ends = Ends(outcome)
    await ends.taking().take([record(0, "payment.succeeded", PAYMENT), Record(0, 1, b"{")])
    assert ends.seen == ["buried NOT_JSON", "asked", f"buried {outcome.value.upper()}", "checked off"]


async def test_a_repeat_is_the_same_command() -> None:
    ends = Ends(Outcome.UNCHANGED)
    for offset in (0, 5):
        await ends.taking().take([record(offset, "payment.succeeded", PAYMENT)])
    first, second = ends.commands
    assert first == second
