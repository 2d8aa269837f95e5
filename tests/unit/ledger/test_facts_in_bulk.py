"""Records of many facts of upstream: the same as each of them alone, and refused whole where one is none."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from events.codec import decode_command, encode_ask, encode_command
from events.commands import BulkFact, Command, RecordInBulk
from events.ids import Tenant
from events.replies import Outcome
from events.sharding import shard_of
from events.upstream import RecordUpstream
from services.intake.together import record_of
from services.ledger.batches import admission
from services.ledger.batches.admission import Bulk, Rejected
from services.ledger.batches.batch import Batch
from services.ledger.ports import CommandRecord
from tests.fakes import asking
from tests.laws.test_bulk import recorded, said
from tests.unit.ledger import telling
from tests.unit.ledger.deck import NOW, SHARDS, Deck, envelopes, replies
from tests.unit.ledger.telling import dispute, payment, refund

HOME = 1
CUSTOMERS = [name for number in range(99) if shard_of(name := f"cus_{number}", SHARDS) == HOME][:3]
ELSEWHERE = next(name for number in range(99) if shard_of(name := f"cus_{number}", SHARDS) != HOME)
TENANTS = [Tenant("biz_1", "live"), Tenant("biz_2", "test")]

asks = st.one_of(
    st.builds(payment, st.integers(1, 4), st.sampled_from(["succeeded", "failed"]), st.integers(10, 20)),
    st.builds(refund, st.integers(1, 4)),
    st.builds(dispute, st.integers(1, 4)),
    st.just(telling.licence_key()),
)
facts = st.tuples(
    st.sampled_from(CUSTOMERS), asks, st.sampled_from([f"k{number}" for number in range(9)]),
    st.sampled_from(TENANTS),
)  # fmt: skip
Told = tuple[str, RecordUpstream, str, Tenant]


def command(number: int, fact: Told) -> Command:
    customer, ask, key, tenant = fact
    made, _ = decode_command(asking.command(number, customer, ask, key=key, tenant=tenant))
    return replace(made, effectivetime=ask.told.time)


def read(value: bytes) -> Bulk | Rejected:
    found = admission.read(CommandRecord(HOME, 0, value), SHARDS, NOW, available=True)
    assert isinstance(found, Bulk | Rejected), found
    return found


def bulk_of(facts: Sequence[BulkFact]) -> bytes:
    first = command(1, (CUSTOMERS[0], payment(), "k", TENANTS[0]))
    data = encode_ask(RecordInBulk(facts=list(facts)))
    return encode_command(replace(first, type=RecordInBulk.TYPE, idempotencykey=msgspec.UNSET, data=data))


def fact(customer: str = CUSTOMERS[0], kind: str = "payment.record.v1", **change: object) -> BulkFact:
    data = msgspec.to_builtins(payment()) | change
    return BulkFact(
        subject=customer,
        businessid="biz_1",
        mode="live",
        idempotencykey="k",
        type=kind,
        data=msgspec.Raw(msgspec.json.encode(data)),
    )


def play(deck: Deck, values: Sequence[bytes]) -> Batch:
    """As the worker would: whoever may be registered has a key."""
    found = [
        admission.read(CommandRecord(HOME, deck.rows[HOME].position + 1 + place, value), SHARDS, NOW, True)
        for place, value in enumerate(values)
    ]
    for one in found:
        assert not isinstance(one, Rejected | admission.Declined), one
        for asked in one.entries if isinstance(one, Bulk) else [one]:
            deck.keys.setdefault(asked.key.stream, bytes(32))
    return deck.play(*found)  # type: ignore[arg-type]


@given(st.lists(st.lists(facts, min_size=2, max_size=6), min_size=1, max_size=4))
def test_facts_in_bulk_are_the_same_facts_one_by_one(story: list[list[Told]]) -> None:
    alone, many = Deck(), Deck()
    for record in story:
        commands = [command(number, one) for number, one in enumerate(record)]
        singly = play(alone, [encode_command(one) for one in commands])
        batch = play(many, [encode_command(record_of(commands))])
        assert [said(one) for one in replies(batch)[0].entries] == [said(one) for one in replies(singly)]
        assert recorded(batch) == recorded(singly)
        assert [(e.businessid, e.mode, e.effectivetime, e.stream) for e in envelopes(batch)] == [
            (e.businessid, e.mode, e.effectivetime, e.stream) for e in envelopes(singly)
        ]
        assert batch.outcomes == singly.outcomes
    assert many.customers == alone.customers
    assert many.receipts.keys() == alone.receipts.keys()


@pytest.mark.parametrize(
    ("poison", "code"),
    [
        (fact(ELSEWHERE), "WRONG_SHARD"),
        (fact(kind="wallet.credit.v1"), "INVALID_COMMAND"),
        (fact(kind="of.tomorrow.v1"), "INVALID_COMMAND"),
        (fact(payment={"payment_id": "pay_1"}), "INVALID_COMMAND"),
        (fact(told={"type": "x", "time": "2026-13-23T10:00:00.000000Z"}), "INVALID_COMMAND"),
        (fact(foreign=msgspec.json.decode(b'{"x":' * 65 + b"1" + b"}" * 65)), "INVALID_COMMAND"),
    ],
)
def test_a_record_with_something_else_in_it_is_refused_whole(poison: BulkFact, code: str) -> None:
    assert isinstance(read(bulk_of([fact(), fact()])), Bulk)
    found = read(bulk_of([fact(), poison, fact()]))
    assert isinstance(found, Rejected)
    assert (found.outcome, found.code) == (Outcome.MALFORMED, code)
    assert "pay_1" not in found.message


def test_a_defect_in_one_fact_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def poisoned(ask: RecordUpstream, *rest: Any) -> object:
        return 1 / 0 if ask == payment(2) else original(ask, *rest)

    from services.ledger.batches import batch as module

    original = module.decide_upstream  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "decide_upstream", poisoned)
    told = [payment(1), payment(2), payment(3)]
    commands = [command(n, (CUSTOMERS[0], ask, f"k{n}", TENANTS[0])) for n, ask in enumerate(told)]
    batch = play(Deck(), [encode_command(record_of(commands))])
    outcomes = [one.outcome for one in replies(batch)[0].entries]
    assert outcomes == [Outcome.APPLIED, Outcome.FAILED, Outcome.APPLIED]
    assert [letter.code for letter in batch.dead_letters] == ["FAILED"]
