"""Moves a customer's money to where the rules want it. Pure."""

from collections.abc import Iterator

from msgspec import UNSET

from events.facts import (
    COUNTER_ACCOUNTS,
    CustomerFact,
    WalletCredited,
    WalletDebited,
    WalletShortfallRecorded,
    WalletShortfallReleased,
)
from events.foreign import Effect
from events.ids import derived
from events.money import AMOUNT_MAX
from services.ledger.domain.customer import Customer
from services.ledger.domain.foreign import Booked, Foreign
from services.ledger.domain.given import Given
from services.ledger.domain.rules import CAUSES, Target, targets


class Teller:
    """Of one command; `facts` are of the customer's stream."""

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
        if debit := min(self._balance(target.currency), amount):
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
        return "balance_limit" if self._balance(currency) > AMOUNT_MAX - credit else ""

    def _balance(self, currency: str) -> int:
        return self._balances.get(currency, 0)

    def _book(self, target: Target, amount: int) -> None:
        """One entry; `amount` has its sign: + credit, - debit."""
        before = self._balance(target.currency)
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
