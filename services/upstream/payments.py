"""The life of a payment: it succeeds or not; some of it goes back; some of it is disputed."""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from events.codec import timestamp
from services.upstream import things
from services.upstream.plans import abandoned
from services.upstream.things import Buyer, Thing
from services.upstream.trade import CREDIT_PRODUCT, DAY, HOUR, MINUTE, PRODUCTS, SECOND
from services.upstream.world import World

ENDS = ("succeeded",) * 88 + ("failed",) * 9 + ("cancelled",) * 3
DISPUTE_ENDS = ("won", "won", "lost", "lost", "accepted", "expired", "cancelled")

Then = Callable[[bool], None]
"""What follows when the payment is over: whether it has succeeded."""


class Payments:
    """Begins payments and sees them through."""

    def __init__(self, world: World) -> None:
        self._world = world

    def top_up(self, buyer: Buyer, name: str, amount: int, **metadata: Any) -> None:
        """A customer buys credit."""
        cart = [{"product_id": CREDIT_PRODUCT, "quantity": 1}]
        self.begin(buyer, name, amount, product_cart=cart, metadata={**metadata, "wallet_action": "top_up"})

    def purchase(self, buyer: Buyer, name: str, amount: int, product: str) -> None:
        """A customer buys something, by card or the like."""
        self.begin(buyer, name, amount, product_cart=[{"product_id": product, "quantity": 1}])

    def begin(
        self, buyer: Buyer, name: str, net: int, then: Then | None = None, ends: str = "", **more: Any
    ) -> Thing:
        """Any payment; `ends` is how, where that is decided already."""
        world = self._world
        chance = world.chance(f"payment {name}")
        payment = things.payment(
            world.business, world.named("pay_", name), buyer, world.now, max(net, 1), **more
        )
        early = chance.randrange(100) < 3  # the dispute comes before this payment is told
        if early:
            payment.held_until = world.now + HOUR
        if chance.randrange(2):
            world.tell("payment.processing", payment)
        end = ends or chance.choice(ENDS)
        wait = chance.randrange(2 * SECOND, 5 * MINUTE)
        world.later(wait, partial(self._end, payment, chance, end, early, then))
        return payment

    def _end(self, payment: Thing, chance: Random, end: str, early: bool, then: Then | None) -> None:
        world = self._world
        things.settle(payment, chance, world.now, end)
        world.tell(f"payment.{end}", payment)
        if end == "succeeded":
            self._succeeded(payment, chance, early)
        elif end == "failed" and chance.randrange(3) == 0:
            world.later(HOUR, partial(self._abandon, payment))
        if then is not None:
            then(end == "succeeded")

    def _abandon(self, payment: Thing) -> None:
        world = self._world
        world.tell_of("abandoned_checkout.detected", payment.name, abandoned(payment, world.now))

    def _succeeded(self, payment: Thing, chance: Random, early: bool) -> None:
        world = self._world
        if is_top_up(payment):
            world.books.topped_up(payment, payment.data["total_amount"] - payment.data["tax"])
        elif (cart := payment.data["product_cart"]) and cart[0]["product_id"] == PRODUCTS[1]:
            key = things.licence_key(payment, world.named("lic_", payment.name), world.now, PRODUCTS[1])
            world.later(SECOND, partial(world.tell, "license_key.created", key))
        fate = chance.randrange(100)
        if early or fate < 3:
            wait = chance.randrange(MINUTE, 20 * MINUTE) if early else chance.randrange(DAY, 8 * DAY)
            world.later(wait, partial(self._dispute, payment, chance))
        elif fate < 11:
            world.later(chance.randrange(HOUR, 6 * DAY), partial(self._give_back, payment, chance))

    def _give_back(self, payment: Thing, chance: Random) -> None:
        """All or a part; of a purchase often to the wallet."""
        whole = chance.randrange(2) == 0
        amount = payment.refundable if whole else max(1, payment.refundable * chance.randrange(10, 90) // 100)
        to_wallet = not is_top_up(payment) and chance.randrange(2) == 0
        metadata = {"wallet_action": "refund_to_wallet"} if to_wallet else {}
        self.refund(payment, payment.name, amount, chance, metadata=metadata, reason="Not as described")
        if not whole and chance.randrange(4) == 0:
            world = self._world
            world.later(DAY, partial(self._give_back, payment, world.chance(f"again {payment.name}")))

    def refund(self, payment: Thing, name: str, amount: int, chance: Random, **more: Any) -> Thing | None:
        """Never more than is left; nothing while there is a dispute."""
        world = self._world
        amount = min(amount, payment.refundable)
        if amount <= 0:
            return None
        payment.refundable -= amount
        name = world.named("ref_", f"{name} {len(payment.parts)}")
        refund = things.refund(payment, name, amount, world.now, **more)
        payment.parts.append(refund)
        world.later(chance.randrange(MINUTE, HOUR), partial(self._end_refund, payment, refund, chance))
        return refund

    def _end_refund(self, payment: Thing, refund: Thing, chance: Random) -> None:
        """It also fails while the payment is disputed."""
        world = self._world
        if payment.disputed or chance.randrange(10) == 0:
            self._fail_refund(payment, refund)
            return
        refund.data["status"] = "succeeded"
        self._book(payment, refund, refund.data["amount"])
        self._show_parts(payment)
        world.tell("refund.succeeded", refund)
        if to_wallet(refund) and chance.randrange(12) == 0:
            world.later(DAY, partial(self._bounce, payment, refund))

    def _bounce(self, payment: Thing, refund: Thing) -> None:
        """What had succeeded has not, after all."""
        self._book(payment, refund, -refund.data["amount"])
        self._fail_refund(payment, refund)

    def _fail_refund(self, payment: Thing, refund: Thing) -> None:
        refund.data["status"] = "failed"
        payment.refundable += refund.data["amount"]
        self._show_parts(payment)
        self._world.tell("refund.failed", refund)

    def _book(self, payment: Thing, refund: Thing, amount: int) -> None:
        books = self._world.books
        if to_wallet(refund):
            books.refunded_to_wallet(payment, refund, amount)
        elif is_top_up(payment):
            books.back_to_card(payment, amount)

    def _show_parts(self, payment: Thing) -> None:
        """The payment itself shows its refunds, and no news says so."""
        done = [part for part in payment.parts if part.data["status"] == "succeeded"]
        hidden = ("brand_id", "customer", "metadata")
        payment.data["refunds"] = [
            {name: value for name, value in part.data.items() if name not in hidden} for part in payment.parts
        ]
        total = sum(part.data["amount"] for part in done)
        status = ("full" if total >= payment.data["total_amount"] else "partial") if done else None
        payment.data |= {"refund_status": status, "updated_at": timestamp(self._world.now)}

    def _dispute(self, payment: Thing, chance: Random) -> None:
        world = self._world
        left = payment.refundable
        if left <= 0 or payment.disputed:
            return
        payment.disputed = True
        amount = left if chance.randrange(2) else max(1, left * chance.randrange(20, 90) // 100)
        dispute = things.dispute(payment, world.named("dp_", payment.name), amount, world.now)
        if is_top_up(payment):
            world.books.disputed(payment, dispute, amount)
        self._show_dispute(payment, dispute)
        world.tell("dispute.opened", dispute)
        if chance.randrange(3) == 0:
            world.later(DAY, partial(self._move_dispute, payment, dispute, "challenged"))
        end = chance.choice(DISPUTE_ENDS)
        world.later(chance.randrange(2 * DAY, 9 * DAY), partial(self._move_dispute, payment, dispute, end))

    def _move_dispute(self, payment: Thing, dispute: Thing, status: str) -> None:
        dispute.data["dispute_status"] = f"dispute_{status}"
        if status in ("won", "cancelled") and is_top_up(payment):
            self._world.books.released(payment, dispute)
        self._show_dispute(payment, dispute)
        self._world.tell(f"dispute.{status}", dispute)

    def _show_dispute(self, payment: Thing, dispute: Thing) -> None:
        payment.data |= {"disputes": [dict(dispute.data)], "updated_at": timestamp(self._world.now)}


def is_top_up(payment: Thing) -> bool:
    return bool(payment.data["metadata"].get("wallet_action") == "top_up")


def to_wallet(refund: Thing) -> bool:
    return bool(refund.data["metadata"].get("wallet_action") == "refund_to_wallet")
