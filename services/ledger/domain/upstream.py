"""What follows when upstream says something: a fact of ours, once, with its effects on the wallet. Pure."""

from collections.abc import Iterator
from typing import assert_never

from msgspec import UNSET
from msgspec.structs import replace

from events.facts import (
    COUNTER_ACCOUNTS,
    AnyFact,
    AsTold,
    CustomerFact,
    CustomerProfileChanged,
    CustomerRegistered,
    ForeignFact,
    WalletCredited,
    WalletDebited,
    WalletShortfallRecorded,
    WalletShortfallReleased,
)
from events.foreign import Effect
from events.ids import derived
from events.money import AMOUNT_MAX
from events.personal import Personal
from events.recorded import (
    DisputeRecorded,
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
from services.ledger.domain.customer import Customer
from services.ledger.domain.foreign import Booked, Foreign, evolve_foreign, name_of, stamp
from services.ledger.domain.given import Given
from services.ledger.domain.rules import CAUSES, Target, targets

NEVER_NAMED = "1970-01-01T00:00:00.000000Z"


def decide_upstream(ask: RecordUpstream, customer: Customer, state: Foreign, given: Given) -> list[AnyFact]:
    """Nothing, where as much or newer is known. Else the fact, and all that follows in both streams."""
    naming = list(_naming(ask, customer, given))
    personal = Personal(foreign=ask.foreign)
    if not isinstance(ask, ForeignAsk):
        return [*naming, UpstreamRecorded(told=ask.told, print=given.print, personal=personal)]
    fact = _recorded(ask, personal, given)
    if stamp(ask.told, given.print) <= state.stamps.get(name_of(fact), ""):
        return [*naming]
    if not isinstance(fact, PaymentRecorded | RefundRecorded | DisputeRecorded):
        return [*naming, fact]
    teller = _Teller(customer, given)
    payment_id = ask.stream.partition("-")[2]
    effects = list(teller.settle(evolve_foreign(state, fact), payment_id))
    return [*naming, replace(fact, effects=tuple(effects)), *teller.facts]


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


def _recorded(ask: ForeignAsk, personal: Personal, given: Given) -> ForeignFact:
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


class _Teller:
    """Moves a customer's money to where the rules want it; `facts` are of the customer's stream."""

    def __init__(self, customer: Customer, given: Given) -> None:
        self._balances = dict(customer.balances)
        self._closed = bool(customer.closed)
        self._given = given
        self.facts: list[CustomerFact] = []

    def settle(self, state: Foreign, payment_id: str) -> Iterator[Effect]:
        """What each rule has done now, where that is new. Nothing is taken for what was never given."""
        wanted = [
            (target, missing, before)
            for target in targets(state, payment_id, self._given.rules)
            for before in [state.booked.get(target.key, Booked())]
            if (missing := target.amount - (before.moved - before.short))
        ]
        withheld = False
        for target, missing, before in sorted(wanted, key=lambda one: one[1] < 0):
            if missing > 0:
                effect = self._give(target, before, missing)
                withheld = withheld or effect.withheld is not UNSET
                yield effect
            elif not withheld:
                yield self._take(target, before, -missing)

    def _give(self, target: Target, before: Booked, amount: int) -> Effect:
        """First what it still lacked is not wanted any more."""
        moved, short = before.moved, before.short
        if released := min(short, amount):
            short -= released
            self._shortfall(WalletShortfallReleased, target, released, short)
        credit, withheld = amount - released, self._withheld(target.currency, amount - released)
        if credit and not withheld:
            self._book(target, +credit)
            moved += credit
        return Effect(
            rule=target.rule.value,
            reference=target.reference,
            currency=target.currency,
            moved=moved,
            short=short,
            withheld=withheld or UNSET,
        )

    def _take(self, target: Target, before: Booked, amount: int) -> Effect:
        """What is there; the rest is a fact, not a debt below zero."""
        moved, short = before.moved, before.short
        if debit := min(self._balances.get(target.currency, 0), amount):
            self._book(target, -debit)
            moved -= debit
        if lacking := amount - debit:
            short += lacking
            self._shortfall(WalletShortfallRecorded, target, lacking, short)
        return Effect(
            rule=target.rule.value,
            reference=target.reference,
            currency=target.currency,
            moved=moved,
            short=short,
        )

    def _withheld(self, currency: str, credit: int) -> str:
        if not credit:
            return ""
        if self._closed:
            return "customer_closed"
        if currency not in self._given.currencies:
            return "currency_not_open"
        return "balance_limit" if self._balances.get(currency, 0) > AMOUNT_MAX - credit else ""

    def _book(self, target: Target, amount: int) -> None:
        """One entry; `amount` has its sign: + credit, - debit."""
        before = self._balances.get(target.currency, 0)
        self._balances[target.currency] = before + amount
        causes = CAUSES[target.rule]
        fact, cause = (WalletCredited, causes.credit) if amount > 0 else (WalletDebited, causes.debit)
        self.facts.append(
            fact(
                entry_id=self._entry_id(),
                currency=target.currency,
                amount=abs(amount),
                balance_before=before,
                balance_after=before + amount,
                cause=cause,
                counter_account=COUNTER_ACCOUNTS[cause],
                reference=target.reference,
            )
        )

    def _shortfall(
        self,
        fact: type[WalletShortfallRecorded] | type[WalletShortfallReleased],
        target: Target,
        amount: int,
        short: int,
    ) -> None:
        self.facts.append(
            fact(
                currency=target.currency,
                amount=amount,
                short=short,
                cause=CAUSES[target.rule].debit,
                reference=target.reference,
            )
        )

    def _entry_id(self) -> str:
        """One receipt, several entries: the first is named as if it were alone."""
        place = len(self.facts)
        return self._given.entry_id if not place else derived("wle_", f"{self._given.entry_id} {place}")
