"""What follows when upstream says something: a fact of ours, once, with its effects on the wallet. Pure."""

from collections.abc import Iterator, Mapping
from typing import assert_never

from msgspec import UNSET
from msgspec.structs import replace

from events.facts import (
    AnyFact,
    CustomerFact,
    CustomerProfileChanged,
    CustomerRegistered,
)
from events.foreign import FAILED, AsTold, Refund
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
from events.upstream import (
    ForeignAsk,
    RecordDispute,
    RecordLicenceKey,
    RecordPayment,
    RecordRefund,
    RecordSubscription,
    RecordUpstream,
)
from services.ledger.domain.changes import answered
from services.ledger.domain.customer import Customer
from services.ledger.domain.foreign import Foreign, evolve_foreign, is_kept, name_of, stamp_of
from services.ledger.domain.given import Given
from services.ledger.domain.invoice import Invoice
from services.ledger.domain.rules import Rule
from services.ledger.domain.settlements import returned
from services.ledger.domain.states import State, foreign_of
from services.ledger.domain.teller import Teller

RecordedOfObject = (
    PaymentRecorded | RefundRecorded | DisputeRecorded | SubscriptionRecorded | LicenceKeyRecorded
)
NEVER_NAMED = "1970-01-01T00:00:00.000000Z"


def decide_upstream(
    ask: RecordUpstream, customer: Customer, about: Mapping[str, State], given: Given
) -> list[AnyFact]:
    """Nothing, where as much or newer is known. Else the fact, and all that follows in all streams.

    `about`: the states of the streams that the ask names, by category.
    """
    naming = list(_naming(ask, customer, given))
    personal = Personal(foreign=ask.foreign)
    if not isinstance(ask, ForeignAsk):
        return [*naming, UpstreamRecorded(told=ask.told, print=given.print, personal=personal)]
    fact = _recorded(ask, personal, given)
    state = foreign_of(about, fact.CATEGORY)
    if stamp_of(fact) <= state.stamps.get(name_of(fact), ""):
        return [*naming]
    if not is_kept(state, fact):
        return [*naming, fact]
    match fact:
        case SubscriptionRecorded():
            answer = answered(state.plan, fact.subscription)
            return [*naming, fact if answer is None else replace(fact, answer=answer)]
        case LicenceKeyRecorded():
            return [*naming, fact]
        case PaymentRecorded():
            fact, more = _failing(fact, state, about.get("invoice"), given)
            payment_id = fact.payment.payment_id
        case RefundRecorded():
            fact = replace(fact, refund=_as_asked(fact.refund, state))
            payment_id, more = fact.refund.payment_id, []
        case DisputeRecorded():
            payment_id, more = fact.dispute.payment_id, []
        case _:
            assert_never(fact)
    teller = Teller(customer, given)
    effects = tuple(teller.settle(evolve_foreign(state, fact), payment_id))
    return [*naming, replace(fact, effects=effects), *more, *teller.facts]


def _as_asked(refund: Refund, state: Foreign) -> Refund:
    """Without an amount, one of ours is of as much as was asked for. Not in the fold: stored facts mean what they did."""
    asked = state.asked.get(refund.refund_id)
    if asked is None or refund.amount is not UNSET:
        return refund
    return replace(refund, amount=asked.amount, currency=asked.currency)


def _failing(
    fact: PaymentRecorded, state: Foreign, invoice: State | None, given: Given
) -> tuple[PaymentRecorded, list[AnyFact]]:
    """A payment that turns to failed takes what the wallet had paid of its invoice by then for its part, once."""
    failed_before = state.payment is not None and state.payment.status in FAILED
    invoice_id, payment_id = fact.payment.invoice_id, fact.payment.payment_id
    if not isinstance(invoice, Invoice) or failed_before or Rule.PAYMENT_REVERSAL not in given.rules:
        return fact, []
    assert invoice_id is not UNSET  # it names the stream
    part = returned(invoice, invoice_id, payment_id, fact.told.time)
    if part is None:
        return fact, []
    amount = state.from_wallet.get(part.currency, 0) + part.amount
    if amount > AMOUNT_MAX:
        return fact, []
    return replace(fact, from_wallet=FromWallet(currency=part.currency, amount=amount)), [part]


def _naming(ask: RecordUpstream, customer: Customer, given: Given) -> Iterator[CustomerFact]:
    """An unknown customer is registered. One whom only upstream has named is called as it does now.

    Not after a change of ours: nobody knows whether what upstream says is older than that. Said again, a name is not
    noted again: that would be an event for each payment.
    """
    named = ask.customer
    said = AsTold(time=ask.told.time if named.email or named.name else NEVER_NAMED, print=given.profile_print)
    if not customer.registered:
        personal = Personal(
            name=named.name or "",
            email=named.email or "",
            phone_number=named.phone_number,
            metadata=named.metadata,
        )
        yield CustomerRegistered(as_told=said, personal=personal)
        return
    last_time, _, last_print = customer.named.partition(" ")
    newer = (said.time, said.print) > (last_time, last_print) and said.time != NEVER_NAMED
    if customer.named and not customer.closed and newer and said.print != last_print:
        personal = Personal(
            name=named.name, email=named.email, phone_number=named.phone_number, metadata=named.metadata
        )
        yield CustomerProfileChanged(as_told=said, personal=personal)


def _recorded(ask: ForeignAsk, personal: Personal, given: Given) -> RecordedOfObject:
    told, print_ = ask.told, given.print
    match ask:
        case RecordPayment():
            return PaymentRecorded(told=told, print=print_, payment=ask.payment, personal=personal)
        case RecordRefund():
            return RefundRecorded(told=told, print=print_, refund=ask.refund, personal=personal)
        case RecordDispute():
            return DisputeRecorded(told=told, print=print_, dispute=ask.dispute, personal=personal)
        case RecordSubscription():
            return SubscriptionRecorded(
                told=told, print=print_, subscription=ask.subscription, personal=personal
            )
        case RecordLicenceKey():
            return LicenceKeyRecorded(told=told, print=print_, licence_key=ask.licence_key, personal=personal)
        case _:
            assert_never(ask)
