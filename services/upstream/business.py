"""Who comes to the business, and for what: visits over the day, seeded. Pure."""

from collections import Counter
from dataclasses import replace
from functools import partial
from random import Random

from events.commands import BlockCustomer, CreditWallet, DebitWallet, RegisterCustomer
from events.facts import Cause
from events.ids import derived
from events.requests import SettleInvoice
from services.upstream.payments import Payments
from services.upstream.people import people
from services.upstream.plans import entitlement_credit, payout
from services.upstream.subscriptions import Subscriptions
from services.upstream.things import Buyer
from services.upstream.trade import DAY, HOUR, MARKETS, PRODUCTS, SHARES
from services.upstream.world import CLEAN, Trouble, World

VISITS = (
    ("top_up", 34),
    ("spend", 28),
    ("invoice", 4),
    ("promotion", 16),
    ("purchase", 11),
    ("subscription", 5),
    ("entitlement", 2),
)
BLOCKED_EACH = 40
UNANNOUNCED_EACH = 10
"""So many customers are known only from their payments."""
REASONS = (
    "Welcome bonus 🎉",
    "Goodwill for a late delivery",
    "Chúc mừng năm mới",
    "خصم الولاء",
    "दिवाली उपहार",
)


class Business:
    """`rate` visits a day; `joining` microseconds until everybody has come for the first time."""

    def __init__(
        self,
        seed: int,
        business: str,
        mode: str,
        start: int,
        rate: int,
        trouble: Trouble = CLEAN,
        joining: int = 10 * DAY,
    ) -> None:
        self.world = World(seed, business, mode, start, trouble)
        self.payments = Payments(self.world)
        self.subscriptions = Subscriptions(self.world, self.payments)
        self.buyers: list[Buyer] = []
        self._rate = rate
        self._visits = 0
        self._gaps = self.world.chance("gaps")
        self._invoices: dict[str, Buyer] = {}
        self._hoped: Counter[tuple[str, str]] = Counter()
        everybody = people()
        for number, person in enumerate(everybody):
            chance = self.world.chance(f"buyer {number}")
            currency = chance.choices([code for code, _ in SHARES], [share for _, share in SHARES])[0]
            customer_id = derived("cus_", f"upstream {number}")  # the same in every life
            buyer = Buyer(number, customer_id, person, MARKETS[currency])
            self.world.later(joining * number // len(everybody), partial(self._join, buyer, chance))
        self.world.later(HOUR, self._visit)
        self.world.later(DAY, partial(self._pay_out, 1))

    @property
    def visits(self) -> int:
        """How many there were."""
        return self._visits

    def quicken(self, at: int, rate: int) -> None:
        """From then on so many visits a day."""

        def quicken() -> None:
            self._rate = rate

        self.world.later(at - self.world.now, quicken)

    def _join(self, buyer: Buyer, chance: Random) -> None:
        """First the shop knows him, then he buys credit."""
        world, person = self.world, buyer.person
        if buyer.number % UNANNOUNCED_EACH:
            known = {name: value for name, value in person._asdict().items() if value is not None}
            known.pop("preferred_locale")
            world.ask(buyer.customer_id, f"{buyer.number}/registered", RegisterCustomer(**known))
        if buyer.number % BLOCKED_EACH == BLOCKED_EACH - 1:
            block = BlockCustomer(reason="Chargeback fraud")
            world.later(4 * DAY, partial(world.ask, buyer.customer_id, f"{buyer.number}/blocked", block))
        self.payments.top_up(buyer, f"{buyer.number}/first", self._price(buyer, chance))
        self.buyers.append(buyer)

    def _visit(self) -> None:
        self._visits += 1
        world = self.world
        chance = world.chance(f"visit {self._visits}")
        if self.buyers:
            kind = chance.choices([kind for kind, _ in VISITS], [share for _, share in VISITS])[0]
            self._come(kind, chance.choice(self.buyers), f"visit {self._visits}", chance)
        world.later(int(self._gaps.expovariate(self._rate) * DAY) + 1, self._visit)

    def _come(self, kind: str, buyer: Buyer, name: str, chance: Random) -> None:
        world = self.world
        match kind:
            case "top_up":
                self.payments.top_up(buyer, name, self._price(buyer, chance))
            case "purchase":
                self.payments.purchase(buyer, name, self._price(buyer, chance), chance.choice(PRODUCTS))
            case "subscription":
                if not buyer.subscription:
                    self.subscriptions.begin(buyer, name, self._price(buyer, chance) // 4 + 1)
            case "promotion":
                self._promote(buyer, name, chance)
            case "invoice":
                self._settle(buyer, name, chance)
            case "spend":
                self._spend(buyer, name, chance)
            case _:
                credit = entitlement_credit(world.business, world.named("cdl_", name), buyer, world.now)
                world.tell_of("credit.added", name, credit)

    def _promote(self, buyer: Buyer, name: str, chance: Random) -> None:
        currency = self._wallet(buyer)
        amount = chance.randrange(100, 1_000, 50) * (80 if currency == "INR" else 1)
        self._hoped[(buyer.customer_id, currency)] += amount
        reason = chance.choice(REASONS)
        credit = CreditWallet(currency=currency, amount=amount, cause=Cause.PROMOTION, reason=reason)
        self.world.ask(buyer.customer_id, name, credit)

    def _spend(self, buyer: Buyer, name: str, chance: Random) -> None:
        """A purchase from the wallet; some ask for more than there is."""
        purse = (buyer.customer_id, self._wallet(buyer))
        there = max(0, self.world.books.wallets[purse] + self._hoped[purse])
        amount = max(1, there * chance.randrange(5, 35) // 100)
        if chance.randrange(9) == 0:
            amount = there + chance.randrange(100, 50_000)
        else:
            self._hoped[purse] -= min(amount, there)
        reference = self.world.named("ord_", name)
        debit = DebitWallet(currency=purse[1], amount=amount, cause=Cause.PURCHASE, reference=reference)
        self.world.ask(buyer.customer_id, name, debit)

    def _settle(self, buyer: Buyer, name: str, chance: Random) -> None:
        """An invoice is paid from the wallet first."""
        currency = self._wallet(buyer)
        buyer = replace(buyer, market=MARKETS[currency])
        invoice = self.world.named("inv_", name)
        self._invoices[invoice] = buyer
        settle = SettleInvoice(invoice_id=invoice, currency=currency, amount=self._price(buyer, chance))
        self._hoped[(buyer.customer_id, currency)] -= settle.amount
        self.world.ask(buyer.customer_id, name, settle)

    def settled(self, ask: SettleInvoice, applied: int) -> None:
        """What the wallet had not is charged to the payment method, once. No part of a life that is lived again."""
        buyer = self._invoices.pop(ask.invoice_id, None)
        if buyer is not None and applied < ask.amount:
            self.payments.begin(buyer, ask.invoice_id, ask.amount - applied, invoice_id=ask.invoice_id)

    def _pay_out(self, day: int) -> None:
        world = self.world
        name = world.named("pyt_", str(day))
        world.tell_of("payout.created", name, payout(world.business, name, world.now, 100_000 + day))
        world.later(DAY, partial(self._pay_out, day + 1))

    def _price(self, buyer: Buyer, chance: Random) -> int:
        market = buyer.market
        return chance.randrange(market.low, market.high, market.step)

    def _wallet(self, buyer: Buyer) -> str:
        """The wallet that he uses: others than these are not open."""
        return "INR" if buyer.market.currency == "INR" else "USD"
