"""What the customers do: the same stories at every run, so that a second run meets the receipts of the first."""

from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from events.facts import Cause
from services.upstream.people import Person, people

VERSION = "sample-1"
"""In every idempotency key: change it with the stories, or an old key meets another request."""

SEED = 20_261_123
MERCHANT_MOVES = 6
BLOCKED_EACH = 40
REASONS = (
    "Welcome bonus 🎉",
    "Goodwill for a late delivery",
    "Chúc mừng năm mới",
    "दिवाली उपहार",
    "خصم الولاء",
    "老客户奖励",
    "Correction of an invoice",
    None,
)


class Move(NamedTuple):
    """One movement of money as asked."""

    key: str
    is_credit: bool
    currency: str
    amount: int
    cause: Cause = Cause.ADJUSTMENT
    reason: str | None = None
    reference: str | None = None


class Story(NamedTuple):
    """One customer: first what upstream services report by Kafka, then what the merchant does by HTTP.

    `blocked`: why he is blocked in the end; "" if he is not.
    """

    key: str
    person: Person
    upstream: list[Move]
    merchant: list[Move]
    blocked: str


@dataclass
class _Teller:
    """Tells one story and keeps its balances."""

    number: int
    random: Random
    balances: dict[str, int] = field(default_factory=lambda: {"USD": 0, "INR": 0})
    told: int = 0

    def credit(
        self,
        currency: str,
        amount: int,
        cause: Cause,
        reason: str | None = None,
        reference: str | None = None,
    ) -> Move:
        self.balances[currency] += amount
        return Move(self._key(), True, currency, amount, cause, reason, reference)

    def debit(
        self,
        currency: str,
        permille: int,
        cause: Cause,
        reason: str | None = None,
        reference: str | None = None,
    ) -> Move:
        amount = max(1, self.balances[currency] * permille // 1000)
        self.balances[currency] -= amount
        return Move(self._key(), False, currency, amount, cause, reason, reference)

    def overdraft(self, currency: str, cause: Cause) -> Move:
        amount = self.balances[currency] + self.random.randint(1, 50_000)
        return Move(self._key(), False, currency, amount, cause, "More than there is")

    def reference(self, prefix: str) -> str:
        return f"{prefix}_{VERSION}_{self.number:03}_{self.told}"

    def _key(self) -> str:
        self.told += 1
        return f"{VERSION}/{self.number:03}/{self.told}"


def stories() -> list[Story]:
    """All of them; every amount is a whole number of minor units."""
    random = Random(SEED)  # noqa: S311 - the same at every run
    return [_story(number, person, random) for number, person in enumerate(people(), 1)]


def _story(number: int, person: Person, random: Random) -> Story:
    teller = _Teller(number, random)
    blocked = "Chargeback fraud" if number % BLOCKED_EACH == 0 else ""
    return Story(f"{VERSION}/{number:03}", person, _upstream(teller), _merchant(teller), blocked)


def _upstream(teller: _Teller) -> list[Move]:
    random = teller.random
    pay, order, dispute = teller.reference("pay"), teller.reference("ord"), teller.reference("dp")
    moves = [
        teller.credit("USD", random.randrange(2_500, 50_000, 50), Cause.TOP_UP, reference=pay),
        teller.credit("INR", random.randrange(100_000, 2_000_000, 100), Cause.TOP_UP, reference=pay),
        teller.credit("USD", 500, Cause.PROMOTION, reason="Five on the house"),
        teller.debit("USD", random.randint(50, 400), Cause.PURCHASE, reference=order),
        teller.debit(
            "INR", random.randint(50, 400), Cause.INVOICE_PAYMENT, reference=teller.reference("inv")
        ),
        teller.credit(
            "INR", random.randrange(1_000, 50_000, 100), Cause.REFUND, reference=teller.reference("ref")
        ),
        teller.debit("INR", random.randint(50, 200), Cause.PURCHASE, reference=order),
        teller.credit("INR", random.randrange(500, 5_000, 50), Cause.PAYMENT_REVERSAL, reference=pay),
        teller.debit("USD", random.randint(20, 90), Cause.DISPUTE, reference=dispute),
        teller.credit("USD", random.randrange(100, 900, 10), Cause.DISPUTE_REVERSAL, reference=dispute),
        teller.credit(
            "USD", random.randrange(1_000, 9_000, 50), Cause.TOP_UP, reference=teller.reference("pay")
        ),
    ]
    if teller.number % 4 == 0:
        moves.append(teller.overdraft("USD", Cause.PURCHASE))
    return moves


def _merchant(teller: _Teller) -> list[Move]:
    random = teller.random
    moves = []
    for turn in range(MERCHANT_MOVES):
        currency = random.choice(("USD", "USD", "INR"))
        reason = random.choice(REASONS)
        if turn % 3 == 2:
            moves.append(teller.debit(currency, random.randint(10, 300), Cause.ADJUSTMENT, reason=reason))
        else:
            moves.append(
                teller.credit(currency, random.randrange(100, 9_900), Cause.ADJUSTMENT, reason=reason)
            )
    if teller.number % 5 < 3:
        moves.append(teller.overdraft(random.choice(("USD", "INR")), Cause.ADJUSTMENT))
    return moves
