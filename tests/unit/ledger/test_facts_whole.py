"""What is recorded about upstream's objects, to the last field: it is kept for ever, and others read all of it."""

from typing import Any

import pytest
from msgspec import UNSET

from events.commands import AnyAsk, CloseCustomer
from events.facts import (
    Cause,
    CustomerProfileChanged,
    CustomerRegistered,
    WalletCredited,
    WalletDebited,
    WalletShortfallRecorded,
    WalletShortfallReleased,
)
from events.foreign import AsTold, Effect
from events.money import AMOUNT_MAX
from events.personal import Personal
from events.recorded import (
    DisputeRecorded,
    FromWallet,
    LicenceKeyRecorded,
    PaymentRecorded,
    RefundRecorded,
    SubscriptionRecorded,
    UpstreamRecorded,
)
from events.requested import (
    InvoiceSettlementReturned,
)
from events.requests import (
    SettleInvoice,
)
from events.upstream import Named, RecordUpstream
from tests.fakes import asking
from tests.unit.ledger.telling import (
    dispute,
    licence_key,
    other,
    payment,
    refund,
    subscription,
    told,
)
from tests.unit.ledger.whole import MADE, MADE_TOO, facts

SETTLE = SettleInvoice(invoice_id="inv_1", currency="USD", amount=80)
FAILS = payment(2, "failed", invoice_id="inv_1", wallet_action="none")


@pytest.mark.parametrize(
    ("ask", "kind", "field"),
    [
        pytest.param(payment(status="processing"), PaymentRecorded, "payment", id="payment"),
        pytest.param(refund(), RefundRecorded, "refund", id="refund"),
        pytest.param(dispute(), DisputeRecorded, "dispute", id="dispute"),
        pytest.param(subscription(), SubscriptionRecorded, "subscription", id="subscription"),
        pytest.param(licence_key(), LicenceKeyRecorded, "licence_key", id="licence key"),
        pytest.param(other(), UpstreamRecorded, "", id="anything else"),
    ],
)
def test_what_upstream_says_is_kept_as_it_says_it(ask: RecordUpstream, kind: Any, field: str) -> None:
    [fact] = facts(asking.REGISTER, ask)
    said = {field: getattr(ask, field)} if field else {}
    assert fact == kind(told=ask.told, print=fact.print, personal=Personal(foreign=ask.foreign), **said)


@pytest.mark.parametrize(
    ("named", "personal"),
    [
        pytest.param(
            Named(name="Mai", email="m@example.com", phone_number="+84 1", metadata={"k": "v"}),
            Personal(name="Mai", email="m@example.com", phone_number="+84 1", metadata={"k": "v"}),
            id="all that it says",
        ),
        pytest.param(Named(email="m@example.com"), Personal(name="", email="m@example.com"), id="no name"),
        pytest.param(Named(name="Mai"), Personal(name="Mai", email=""), id="no address"),
        pytest.param(Named(phone_number="+84 1"), Personal(name="", email="", phone_number="+84 1"),
                     id="neither: whatever is said later is newer"),
    ],
)  # fmt: skip
def test_a_customer_is_registered_as_upstream_names_him(named: Named, personal: Personal) -> None:
    first = facts(payment(customer=named))[0]
    assert isinstance(first, CustomerRegistered)
    assert isinstance(first.as_told, AsTold)
    time = told(1).time if named.name or named.email else "1970-01-01T00:00:00.000000Z"
    assert first == CustomerRegistered(
        as_told=AsTold(time=time, print=first.as_told.print), personal=personal
    )


def test_a_customer_is_renamed_in_what_upstream_says_and_in_nothing_else() -> None:
    named = Named(name="M", email="m@example.com", phone_number="+84 2", metadata={"k": "w"})
    first = facts(payment(), payment(2, customer=named))[0]
    assert first == CustomerProfileChanged(
        as_told=AsTold(time=told(2).time, print=first.as_told.print),
        personal=Personal(name="M", email="m@example.com", phone_number="+84 2", metadata={"k": "w"}),
    )
    assert facts(payment(), payment(2, customer=Named(phone_number="+84 2")))[0].TYPE == PaymentRecorded.TYPE


def test_what_a_rule_does_is_in_the_fact_and_in_entries_with_names_of_their_own() -> None:
    recorded, credited, debited = facts(asking.REGISTER, dispute(1), payment(2))
    assert recorded.effects == (
        Effect(rule="top_up", reference="pay_1", currency="USD", moved=100),
        Effect(rule="dispute", reference="dp_1", currency="USD", moved=-100),
    )
    assert credited == WalletCredited(
        entry_id=f"wle_{MADE}", currency="USD", amount=100, balance_before=0, balance_after=100,
        cause=Cause.TOP_UP, counter_account="gateway:upstream", reference="pay_1",
    )  # fmt: skip
    assert debited == WalletDebited(
        entry_id=f"wle_{MADE_TOO}", currency="USD", amount=100, balance_before=100, balance_after=0,
        cause=Cause.DISPUTE, counter_account="gateway:disputes", reference="dp_1",
    )  # fmt: skip


def test_what_is_lacking_is_a_fact_that_says_how_much_it_is_in_all() -> None:
    def lacking(kind: Any, amount: int, short: int) -> Any:
        return kind(currency="USD", amount=amount, short=short, cause=Cause.DISPUTE, reference="dp_1")

    def effect(moved: int, short: int) -> tuple[Effect]:
        return (Effect(rule="dispute", reference="dp_1", currency="USD", moved=moved, short=short),)

    before: list[AnyAsk] = [payment(), asking.debit(60), dispute(3)]
    fact, debited, recorded = facts(*before)
    assert (fact.effects, debited.amount) == (effect(-40, 60), 40)
    assert recorded == lacking(WalletShortfallRecorded, 60, 60)
    before.append(dispute(4, amount=50))
    fact, released = facts(*before)
    assert (fact.effects, released) == (effect(-40, 10), lacking(WalletShortfallReleased, 50, 10))
    fact, recorded = facts(*before, dispute(5, amount=70))
    assert (fact.effects, recorded) == (effect(-40, 30), lacking(WalletShortfallRecorded, 20, 30))
    fact, released, credited = facts(*before, dispute(5, "dispute_won"))
    assert (fact.effects, released) == (effect(0, 0), lacking(WalletShortfallReleased, 10, 0))
    assert (credited.TYPE, credited.amount, credited.balance_after) == ("wallet.credited.v1", 40, 40)


EUR, FULL = payment(currency="EUR"), payment(total=AMOUNT_MAX, tax=0)


@pytest.mark.parametrize(
    ("asks", "moved", "why"),
    [
        pytest.param([payment(total=1, tax=0)], 1, UNSET, id="a cent is given"),
        pytest.param([FULL], AMOUNT_MAX, UNSET, id="as much as there may be"),
        pytest.param([asking.credit(1), FULL], 0, "balance_limit", id="a cent more"),
        pytest.param([EUR], 0, "currency_not_open", id="a currency that is not open"),
        pytest.param([dispute(1, currency="EUR"), EUR], 0, "currency_not_open", id="what is not given is not taken"),
        pytest.param([CloseCustomer(), payment()], 0, "customer_closed", id="a closed customer"),
        pytest.param([CloseCustomer(), payment(total=1, tax=0)], 0, "customer_closed", id="not even a cent"),
    ],
)  # fmt: skip
def test_what_is_not_given_says_why_and_is_not_taken_either(
    asks: list[AnyAsk], moved: int, why: object
) -> None:
    recorded, *entries = facts(asking.REGISTER, *asks)
    effects = {effect.rule: (effect.moved, effect.withheld) for effect in recorded.effects}
    assert effects == {"top_up": (moved, why)}
    assert [entry.amount for entry in entries] == [moved] * bool(moved)


def test_what_a_closed_customer_lacks_is_forgiven_like_anybody_elses() -> None:
    asks: list[AnyAsk] = [payment(), asking.debit(100), CloseCustomer(), dispute(), dispute(4, "dispute_won")]
    recorded, released = facts(*asks)
    assert recorded.effects == (Effect(rule="dispute", reference="dp_1", currency="USD", moved=0),)
    assert (released.TYPE, released.amount, released.short) == ("wallet.shortfall_released.v1", 100, 0)


def test_a_payment_that_fails_takes_the_wallets_part() -> None:
    recorded, returned, credited = facts(asking.REGISTER, asking.credit(100), SETTLE, FAILS)
    assert recorded.from_wallet == FromWallet(currency="USD", amount=80)
    assert returned == InvoiceSettlementReturned(
        invoice_id="inv_1", payment_id="pay_1", currency="USD", amount=80
    )
    assert (credited.amount, credited.reference) == (80, "pay_1")
