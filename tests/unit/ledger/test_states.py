"""States of all kinds: where they begin, which facts concern them, and what several entries make of one."""

import pytest
from msgspec.structs import replace

from events.facts import Cause, CustomerProfileChanged, CustomerRegistered, WalletCredited
from events.foreign import AsTold
from services.ledger.domain.customer import INITIAL, Customer, evolve
from services.ledger.domain.foreign import Foreign
from services.ledger.domain.given import Given
from services.ledger.domain.invoice import Invoice
from services.ledger.domain.states import evolve_any, foreign_of, initial
from services.ledger.domain.together import decide_together
from tests.fakes.asking import credit

RECORDED = "2026-11-23T12:00:00.000000Z"
GIVEN = Given(b"receipt", frozenset({"USD"}))


def test_a_stream_without_events_begins_by_its_category() -> None:
    found = [
        initial(category) for category in ("customer", "invoice", "payment", "subscription", "licence_key")
    ]
    assert found == [Customer(), Invoice(), Foreign(), Foreign(), Foreign()]


def test_what_is_known_of_another_object_is_not_taken_for_this_one() -> None:
    """A defect, before anything is made of it."""
    with pytest.raises(AssertionError):
        foreign_of({"payment": Invoice()}, "payment")
    with pytest.raises(AssertionError):
        evolve_any(Invoice(), CustomerRegistered(), RECORDED, RECORDED)


def test_what_upstream_calls_him_is_remembered_until_we_call_him_something() -> None:
    told = AsTold(time=RECORDED, print="0123456789abcdef")
    for fact in (CustomerRegistered(as_told=told), CustomerProfileChanged(as_told=told)):
        customer = evolve(INITIAL, fact, "2026-11-24T12:00:00.000000Z")
        assert customer.named == f"{RECORDED} 0123456789abcdef"
        assert evolve(customer, CustomerProfileChanged(), RECORDED).named == ""


def test_entries_of_a_group_are_decided_one_on_the_other_each_with_its_own_name() -> None:
    customer = replace(INITIAL, registered=RECORDED)
    givens = [GIVEN, GIVEN._replace(receipt=b"another")]
    facts = decide_together([credit(5), credit(2)], customer, givens, ["cmd_1", "cmd_2"])
    assert facts == [
        WalletCredited(entry_id=given.entry_id, currency="USD", amount=amount, balance_before=before,
                       balance_after=before + amount, cause=Cause.ADJUSTMENT, counter_account="merchant:adjustments",
                       personal=facts[0].personal)
        for given, amount, before in zip(givens, (5, 2), (0, 5), strict=True)
    ]  # fmt: skip
    with pytest.raises(ValueError, match="shorter"):  # a defect: an entry would be left out
        decide_together([credit(5), credit(2)], customer, givens, ["cmd_1"])
