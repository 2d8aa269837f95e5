"""The life of a subscription: it renews, waits for money, changes its plan, pauses, ends."""

from functools import partial
from random import Random

from events.codec import timestamp
from services.upstream import things
from services.upstream.payments import Payments
from services.upstream.plans import PERIODS, dunning, subscription
from services.upstream.things import Buyer, Thing
from services.upstream.trade import DAY, PLANS, SECOND
from services.upstream.world import World


class Subscriptions:
    """Begins subscriptions and sees them through."""

    def __init__(self, world: World, payments: Payments) -> None:
        self._world = world
        self._payments = payments

    def begin(self, buyer: Buyer, name: str, price: int) -> None:
        """Nothing is told of it before its first payment is over."""
        world = self._world
        chance = world.chance(f"subscription {name}")
        interval = chance.choice(("Week", "Week", "Month"))
        sub = subscription(world.business, world.named("sub_", name), buyer, world.now, price, interval)
        buyer.subscription = sub.name
        self._charge(sub, chance, "new")

    def _charge(self, sub: Thing, chance: Random, charge: str, attempt: int = 0) -> None:
        sub.payments += 1
        ends = "succeeded" if chance.randrange(100) < (92 if charge != "retry" else 60) else "failed"
        self._payments.begin(
            sub.buyer,
            f"{sub.name} {sub.payments}",
            sub.data["recurring_pre_tax_amount"],
            partial(self._charged, sub, chance, charge),
            ends,
            subscription_id=sub.name,
            subscription_ids=[sub.name],
            charge_type="renewal" if charge == "retry" else charge,
            retry_attempt=attempt,
        )

    def _charged(self, sub: Thing, chance: Random, charge: str, succeeded: bool) -> None:
        """Each outcome is told as what it means for the subscription."""
        world, data = self._world, sub.data
        if not succeeded:
            self._unpaid(sub, chance, charge)
            return
        if charge == "plan_change":
            data |= {"product_id": PLANS[2], "recurring_pre_tax_amount": 2 * data["recurring_pre_tax_amount"]}
        else:
            self._next_period(sub, chance)
        data["status"] = "active"
        told = {"new": "active", "renewal": "renewed", "retry": "active", "plan_change": "plan_changed"}
        if charge == "retry":
            world.tell_of("dunning.recovered", sub.name, dunning(sub, world.now, "recovered"))
        world.tell(f"subscription.{told[charge]}", sub)
        if charge == "new" and chance.randrange(3) == 0:
            key = things.licence_key(sub_payment(sub), world.named("lic_", sub.name), world.now, PLANS[1])
            world.later(SECOND, partial(world.tell, "license_key.created", key))

    def _unpaid(self, sub: Thing, chance: Random, charge: str) -> None:
        world = self._world
        match charge:
            case "new":
                self._end(sub, "failed")
            case "renewal":
                sub.data["status"] = "on_hold"
                world.tell("subscription.on_hold", sub)
                world.tell_of("dunning.started", sub.name, dunning(sub, world.now, "recovering"))
                world.later(DAY, partial(self._charge, sub, chance, "retry", 1))
            case "retry":
                self._end(sub, "cancelled")
            case _:  # the old plan goes on
                pass

    def _next_period(self, sub: Thing, chance: Random) -> None:
        world, data = self._world, sub.data
        period = PERIODS[data["payment_frequency_interval"]]
        data |= {
            "previous_billing_date": timestamp(world.now),
            "next_billing_date": timestamp(world.now + period),
        }
        world.later(period, partial(self._renew, sub, chance))
        half = partial(world.later, chance.randrange(DAY, period - DAY))
        match chance.randrange(25):
            case 0 | 1:
                half(partial(self._change_plan, sub, chance))
            case 2:
                half(partial(self._leave, sub))
            case 3:
                half(partial(self._new_card, sub))
            case 4:
                half(partial(self._pause, sub, chance))
            case _:
                pass

    def _renew(self, sub: Thing, chance: Random) -> None:
        if sub.data["cancel_at_next_billing_date"]:
            self._end(sub, "cancelled")
        elif sub.data["status"] == "active":
            self._charge(sub, chance, "renewal")
        elif sub.data["status"] == "paused":
            self._world.later(DAY, partial(self._renew, sub, chance))

    def _change_plan(self, sub: Thing, chance: Random) -> None:
        if sub.data["status"] == "active":
            self._charge(sub, chance, "plan_change")

    def _leave(self, sub: Thing) -> None:
        if sub.data["status"] == "active":
            sub.data["cancel_at_next_billing_date"] = True
            sub.data["cancellation_feedback"] = "too_expensive"
            self._world.tell("subscription.updated", sub)

    def _new_card(self, sub: Thing) -> None:
        if sub.data["status"] == "active":
            sub.data["payment_method_id"] = self._world.named("pm_", sub.name)
            self._world.tell("subscription.update_payment_method", sub)

    def _pause(self, sub: Thing, chance: Random) -> None:
        if sub.data["status"] == "active":
            sub.data |= {"status": "paused", "paused_at": timestamp(self._world.now)}
            self._world.tell("subscription.paused", sub)
            self._world.later(chance.randrange(DAY, 3 * DAY), partial(self._go_on, sub))

    def _go_on(self, sub: Thing) -> None:
        if sub.data["status"] == "paused":
            sub.data |= {"status": "active", "paused_at": None}
            self._world.tell("subscription.unpaused", sub)

    def _end(self, sub: Thing, status: str) -> None:
        sub.data["status"] = status
        if status == "cancelled":
            sub.data["cancelled_at"] = timestamp(self._world.now)
        sub.buyer.subscription = ""
        self._world.tell(f"subscription.{status}", sub)


def sub_payment(sub: Thing) -> Thing:
    """As much of its first payment as a licence key names."""
    data = {"business_id": sub.data["business_id"], "subscription_id": sub.name}
    return things.Thing("Payment", "", data, sub.buyer)
