"""Bulk records: their entries by themselves, and all or none of a customer's."""

from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from events.codec import Malformed, decode_command, decode_fact
from events.commands import BULK_CUSTOMERS_MAX, BULK_ENTRIES_MAX, BulkEntry
from events.facts import CustomerCommandRefused, WalletDebitRefused
from events.replies import Outcome, Reply
from events.sharding import shard_of
from events.upcasters import UPCASTERS
from services.ledger.batches import admission, wrapping
from services.ledger.batches.admission import Declined, Rejected
from services.ledger.domain.customer import decide
from services.ledger.ports import CommandRecord
from tests.fakes import asking
from tests.fakes.asking import credit, debit, entry
from tests.unit.ledger.deck import SHARDS, Deck, envelopes, linked, replies

A = "cus_a"
SHARD = shard_of(A, SHARDS)
B, C = [name for number in range(99) if shard_of(name := f"cus_{number}", SHARDS) == SHARD][:2]
ELSEWHERE = next(name for number in range(99) if shard_of(name := f"cus_{number}", SHARDS) != SHARD)


@pytest.fixture
def deck() -> Deck:
    deck = Deck()
    for customer in (A, B, C):
        deck.known(customer, balance=100)
    return deck


def told(deck: Deck, *entries: BulkEntry, together: bool = False) -> list[Reply]:
    """The replies to the entries of one record."""
    [reply] = replies(deck.play(deck.bulk(*entries, together=together)))
    assert reply.outcome is Outcome.APPLIED
    return reply.entries


def codes(found: list[Reply]) -> list[str]:
    """`applied` or the code, with a `+` where it was answered from a receipt."""
    return [(reply.code or reply.outcome.value) + "+" * reply.replayed for reply in found]


@pytest.fixture(params=[False, True], ids=["singly", "together"])
def together(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


# --- in any form ---


def test_each_entry_has_its_event_its_receipt_and_its_answer(deck: Deck, together: bool) -> None:
    heads = {SHARD: deck.rows[SHARD].head}
    bulk = deck.bulk(
        entry(A, credit(1), "1"), entry(B, debit(2), "2"), entry(A, debit(3), "3"), together=together
    )
    batch = deck.play(bulk)
    [reply] = replies(batch)
    events = {event.id: event for event in envelopes(batch)}
    assert linked(batch, heads)
    assert [events[one.position].subject for one in reply.entries] == [A, B, A]
    assert [events[one.position].commandid for one in reply.entries] == [
        f"{bulk.command.id}.{n}" for n in range(3)
    ]
    assert {event.commandposition for event in events.values()} == {bulk.record.offset}
    assert [one.balance_after for one in reply.entries] == [101, 98, 98]
    assert len(batch.commit().receipts) == len(events) == batch.taken == 3
    assert reply.position == max(events, key=lambda position: int(position.partition(":")[2]))
    row = deck.rows[SHARD]
    assert (row.position, row.position_command_id) == (bulk.record.offset, bulk.command.id)
    assert admission.identity(bulk.record.value) == row.position_command_id


def test_the_same_record_again_changes_nothing(deck: Deck, together: bool) -> None:
    entries = [entry(A, debit(60), "1"), entry(B, debit(101), "2"), entry(A, debit(30), "3")]
    first = told(deck, *entries, together=together)
    again = told(deck, *entries, together=together)
    assert codes(first) == ["applied", "INSUFFICIENT_WALLET_FUNDS", "applied"]
    assert codes(again) == [code + "+" for code in codes(first)]
    assert [one.position for one in again] == [one.position for one in first]
    assert deck.balance(A) == 10


def test_the_same_key_twice_in_a_record_is_one_entry(deck: Deck, together: bool) -> None:
    found = told(
        deck, entry(A, debit(60), "1"), entry(A, debit(60), "1"), entry(B, debit(60), "1"), together=together
    )
    assert codes(found) == ["applied", "applied+", "applied"]
    assert (deck.balance(A), deck.balance(B)) == (40, 40)
    assert found[0].position == found[1].position != found[2].position


def test_a_key_of_a_bulk_is_a_key_anywhere(deck: Deck, together: bool) -> None:
    assert codes(told(deck, entry(A, debit(60), "1"), together=together)) == ["applied"]
    [alone] = replies(deck.play(deck.asked(A, debit(60), key="1")))
    assert alone.replayed
    deck.play(deck.asked(B, debit(5), key="2"))
    assert codes(told(deck, entry(B, debit(5), "2"), together=together)) == ["applied+"]
    assert codes(told(deck, entry(B, debit(6), "2"), together=together)) == ["IDEMPOTENCY_KEY_REUSED"]


def test_a_defect_in_one_entry_leaves_the_other_customers_alone(
    deck: Deck, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(ask: object, *rest: object) -> object:
        return 1 / 0 if ask == credit(13) else decide(ask, *rest)  # type: ignore[arg-type]

    for name in ("services.ledger.batches.batch", "services.ledger.domain.together"):
        monkeypatch.setattr(f"{name}.decide", poisoned)
    before = deck.rows[SHARD].sequence
    bulk = deck.bulk(
        entry(A, credit(1), "1"), entry(B, credit(13), "2"), entry(C, credit(2), "3"), entry(B, credit(13), "4"),
        together=together,
    )  # fmt: skip
    batch = deck.play(bulk)
    [reply] = replies(batch)
    assert [one.outcome for one in reply.entries] == [
        Outcome.APPLIED,
        Outcome.FAILED,
        Outcome.APPLIED,
        Outcome.FAILED,
    ]
    assert [(letter.offset, letter.code) for letter in batch.dead_letters] == [(bulk.record.offset, "FAILED")]
    assert deck.rows[SHARD].sequence == before + 2
    assert deck.rows[SHARD].position == bulk.record.offset


def test_half_a_group_leaves_nothing(deck: Deck, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second event is too large to be stored: the first one must not stand alone."""
    monkeypatch.setattr(wrapping, "EVENT_BYTES_MAX", 1_200)
    before = (deck.rows[SHARD].sequence, deck.rows[SHARD].head)
    large = replace(credit(1), reason="x" * 900)
    found = told(
        deck, entry(A, credit(1), "1"), entry(A, large, "2"), entry(B, credit(1), "3"), together=True
    )
    assert [one.outcome for one in found] == [Outcome.FAILED, Outcome.FAILED, Outcome.APPLIED]
    assert (deck.balance(A), deck.balance(B)) == (100, 101)
    assert deck.rows[SHARD].sequence == before[0] + 1


# --- by themselves ---


def test_what_fails_takes_nothing_else_down(deck: Deck) -> None:
    entries = [entry(A, debit(101), "1"), entry(A, debit(60), "2"), entry("cus_stranger0", debit(1), "3")]
    entries = [one for one in entries if shard_of(one.customer_id, SHARDS) == SHARD]
    found = told(
        deck, *entries, entry(A, debit(60), "4"), entry(A, credit(5, "EUR"), "5"), entry(B, debit(1), "6")
    )
    assert codes(found)[-4:] == ["applied", "INSUFFICIENT_WALLET_FUNDS", "UNSUPPORTED_CURRENCY", "applied"]
    assert (deck.balance(A), deck.balance(B)) == (40, 99)


# --- all or none ---


def test_one_failure_refuses_all_of_its_customer_and_nobody_else(deck: Deck) -> None:
    entries = [
        entry(A, debit(60), "1"),
        entry(B, debit(60), "2"),
        entry(A, debit(60), "3"),
        entry(A, credit(9), "4"),
    ]
    bulk = deck.bulk(*entries, together=True)
    batch = deck.play(bulk)
    [reply] = replies(batch)
    assert codes(reply.entries) == [
        "ANOTHER_ENTRY_FAILED", "applied", "INSUFFICIENT_WALLET_FUNDS", "ANOTHER_ENTRY_FAILED",
    ]  # fmt: skip
    assert (deck.balance(A), deck.balance(B)) == (100, 40)
    facts = {event.commandid: decode_fact(event) for event in envelopes(batch)}
    failed = f"{bulk.command.id}.2"
    first, guilty, last = (facts[f"{bulk.command.id}.{place}"] for place in (0, 2, 3))
    assert isinstance(first, WalletDebitRefused)
    assert isinstance(guilty, WalletDebitRefused)
    assert isinstance(last, CustomerCommandRefused)
    assert {first.because_of, guilty.because_of, last.because_of} == {failed}
    assert (first.balance, guilty.balance, guilty.amount) == (100, 40, 60)
    assert (last.command, last.amount) == ("wallet.credit.v1", 9)
    again = told(deck, *entries, together=True)
    assert codes(again) == [code + "+" for code in codes(reply.entries)]


def test_entries_of_a_group_build_on_each_other(deck: Deck) -> None:
    found = told(deck, entry(A, credit(50), "1"), entry(A, debit(150), "2"), together=True)
    assert [(one.balance_before, one.balance_after) for one in found] == [(100, 150), (150, 0)]


def test_a_key_of_another_request_keeps_its_group_from_happening_and_leaves_nothing(deck: Deck) -> None:
    told(deck, entry(A, debit(1), "1"))
    before = deck.rows[SHARD].sequence
    found = told(
        deck, entry(A, debit(5), "2"), entry(A, debit(2), "1"), entry(B, debit(5), "2"), together=True
    )
    assert codes(found) == ["ANOTHER_ENTRY_FAILED", "IDEMPOTENCY_KEY_REUSED", "applied"]
    assert [one.position for one in found[:2]] == ["", ""]
    assert (deck.balance(A), deck.rows[SHARD].sequence) == (99, before + 1)
    assert codes(told(deck, entry(A, debit(5), "2"), together=True)) == ["applied"]


def test_a_key_with_two_requests_in_one_group_is_reused(deck: Deck) -> None:
    found = told(deck, entry(A, debit(5), "1"), entry(A, debit(6), "1"), together=True)
    assert codes(found) == ["ANOTHER_ENTRY_FAILED", "IDEMPOTENCY_KEY_REUSED"]
    assert deck.balance(A) == 100


def test_what_was_applied_before_stays_and_the_rest_is_decided_together(deck: Deck) -> None:
    told(deck, entry(A, debit(10), "1"))
    found = told(
        deck, entry(A, debit(10), "1"), entry(A, debit(80), "2"), entry(A, debit(80), "3"), together=True
    )
    assert codes(found) == ["applied+", "ANOTHER_ENTRY_FAILED", "INSUFFICIENT_WALLET_FUNDS"]
    assert deck.balance(A) == 90


def test_what_was_refused_in_an_old_form_refuses_the_rest(
    deck: Deck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(UPCASTERS, "wallet.debit_refused.v0", (WalletDebitRefused.TYPE, dict))
    told(deck, entry(A, debit(101), "1"), together=True)
    for key, receipt in deck.receipts.items():
        old = receipt.event.replace(b"wallet.debit_refused.v1", b"wallet.debit_refused.v0")
        deck.receipts[key] = receipt._replace(event=old)
    found = told(deck, entry(A, debit(101), "1"), entry(A, credit(1), "2"), together=True)
    assert codes(found) == ["INSUFFICIENT_WALLET_FUNDS+", "ANOTHER_ENTRY_FAILED"]


def test_what_was_refused_before_refuses_the_rest(deck: Deck) -> None:
    [refused] = told(deck, entry(A, debit(101), "1"))
    batch = deck.play(deck.bulk(entry(A, debit(101), "1"), entry(A, debit(5), "2"), together=True))
    [reply] = replies(batch)
    assert codes(reply.entries) == ["INSUFFICIENT_WALLET_FUNDS+", "ANOTHER_ENTRY_FAILED"]
    [event] = envelopes(batch)
    fact = decode_fact(event)
    assert isinstance(fact, WalletDebitRefused)
    assert fact.because_of == "cmd_" + str(deck._numbers - 1) + ".0"
    assert deck.balance(A) == 100
    assert refused.position == reply.entries[0].position


# --- admission ---


def read(deck: Deck, *entries: BulkEntry, shard: int = SHARD, **more: object) -> object:
    value = asking.command(999, entries[0].customer_id, asking.bulk(*entries), **more)  # type: ignore[arg-type]
    return admission.read(CommandRecord(shard, 0, value), SHARDS, deck.now, available=True)


@pytest.mark.parametrize(
    ("customers", "shard", "code"),
    [
        ([A, ELSEWHERE, B], SHARD, "WRONG_SHARD"),
        ([ELSEWHERE, A], SHARD, "WRONG_SHARD"),
        ([A, B], (SHARD + 1) % SHARDS, "WRONG_SHARD"),
    ],
)
def test_a_record_of_several_shards_is_refused_whole(
    deck: Deck, customers: list[str], shard: int, code: str
) -> None:
    found = read(deck, *(entry(name, credit(1), "k") for name in customers), shard=shard)
    assert isinstance(found, Rejected)
    assert (found.outcome, found.code) == (Outcome.MALFORMED, code)


def test_too_many_customers_are_refused(deck: Deck) -> None:
    here = [name for number in range(5_000) if shard_of(name := f"cus_{number}", SHARDS) == SHARD]
    for count, kind in ((BULK_CUSTOMERS_MAX, admission.Bulk), (BULK_CUSTOMERS_MAX + 1, Rejected)):
        assert isinstance(read(deck, *(entry(name, credit(1), "k") for name in here[:count])), kind)


@pytest.mark.parametrize("more", [{"key": "k"}, {"identity": "x" * 121}])
def test_a_record_names_its_entries_and_has_no_key_of_its_own(deck: Deck, more: dict[str, Any]) -> None:
    found = read(deck, entry(A, credit(1), "k"), **more)
    assert isinstance(found, Rejected)
    assert found.code == "INVALID_COMMAND"


@pytest.mark.parametrize("count", [0, BULK_ENTRIES_MAX + 1])
def test_a_record_has_one_to_a_thousand_entries(count: int) -> None:
    value = asking.command(1, A, asking.bulk(*[entry(A, credit(1), "k")] * count))
    with pytest.raises(Malformed):
        decode_command(value)


def test_a_late_record_is_late_as_a_whole(deck: Deck) -> None:
    found = read(deck, entry(A, credit(1), "k"), deadline=deck.now - 1)
    assert isinstance(found, Declined)
    assert found.otherwise.outcome is Outcome.LATE


def test_a_silent_record_is_decided_too(deck: Deck) -> None:
    bulk = deck.bulk(entry(A, credit(1), "1"))
    batch = deck.play(bulk._replace(command=replace(bulk.command, replyto=UNSET)))
    assert (batch.answers, deck.balance(A)) == ([], 101)
