"""What the payment service does when the ledger asks it: refunds, top-ups, changes of subscriptions. Pure."""

from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET

from events.codec import micros, timestamp
from events.for_upstream import (
    REQUESTS_BY_TYPE,
    RefundRequest,
    RequestEvent,
    SubscriptionChangeRequest,
    TopUpRequest,
)
from events.foreign import SUBSCRIPTION_OVER
from services.upstream import things
from services.upstream.business import Business
from services.upstream.people import Person
from services.upstream.things import Buyer, Thing
from services.upstream.trade import MARKETS, SECOND

KINDS = {
    "cancelled": "subscription.cancelled",
    "paused": "subscription.paused",
    "active": "subscription.unpaused",
}


class Answers:
    """Takes each request once, however often it comes."""

    def __init__(self, business: Business) -> None:
        self._business = business
        self._world = business.world
        self._taken: set[str] = set()

    def take(self, event: RequestEvent) -> None:
        """It is answered some seconds after it was asked; what names nothing that is known here never is."""
        kind = REQUESTS_BY_TYPE.get(event.type)
        if kind is None or event.id in self._taken:
            return
        self._taken.add(event.id)
        request = msgspec.json.decode(event.data, type=kind)
        delay = self._world.chance(request.request_id).randrange(2 * SECOND, 10 * SECOND)
        wait = max(0, micros(event.time) + delay - self._world.now)
        self._world.later(wait, partial(self._answer, event.subject, request))

    def _answer(
        self, customer_id: str, request: RefundRequest | SubscriptionChangeRequest | TopUpRequest
    ) -> None:
        match request:
            case RefundRequest():
                payment = self._world.books.things.get(request.payment_id)
                if payment is not None and payment.payload_type == "Payment":
                    self._refund(payment, request)
            case SubscriptionChangeRequest():
                subscription = self._world.books.things.get(request.subscription_id)
                if subscription is not None and subscription.payload_type == "Subscription":
                    self._change(subscription, request)
            case TopUpRequest():
                buyer = self._buyer(customer_id, request.currency)
                asked = {} if request.metadata is UNSET else request.metadata
                self._business.payments.top_up(
                    buyer, request.request_id, request.amount, **{**asked, "request_id": request.request_id}
                )

    def _refund(self, payment: Thing, request: RefundRequest) -> None:
        """More than is left, of a payment that has not succeeded, or of a disputed one: it fails."""
        asked = {} if request.metadata is UNSET else request.metadata
        more: dict[str, Any] = {
            "metadata": {**asked, "request_id": request.request_id},
            "reason": None if request.reason is UNSET else request.reason,
        }
        chance = self._world.chance(f"answer {request.request_id}")
        if payment.data["status"] == "succeeded" and request.amount <= payment.refundable:
            self._business.payments.refund(payment, request.request_id, request.amount, chance, **more)
            return
        name = self._world.named("ref_", request.request_id)
        refund = things.refund(payment, name, request.amount, self._world.now, **more)
        refund.data["status"] = "failed"
        self._world.tell("refund.failed", refund)

    def _change(self, subscription: Thing, request: SubscriptionChangeRequest) -> None:
        """Done as asked, unless the subscription is over: then it is told as it is."""
        world, data = self._world, subscription.data
        kind = "subscription.updated"
        data["metadata"] = {**data["metadata"], "request_id": request.request_id}
        if data["status"] not in SUBSCRIPTION_OVER:
            change = msgspec.to_builtins(request.change)
            name = change.pop("customer_name", None)
            data |= {field: value for field, value in change.items() if field in data and field != "metadata"}
            data["metadata"] |= change.get("metadata") or {}
            if name:
                data["customer"] = {**data["customer"], "name": name}
            if status := change.get("status"):
                kind = KINDS.get(status, kind)
                data["cancelled_at"] = timestamp(world.now) if status == "cancelled" else None
                data["paused_at"] = timestamp(world.now) if status == "paused" else None
        world.tell(kind, subscription)

    def _buyer(self, customer_id: str, currency: str) -> Buyer:
        """One who is known only to the ledger buys, too."""
        market = MARKETS.get(currency) or MARKETS["USD"]._replace(currency=currency)
        for buyer in self._business.buyers:
            if buyer.customer_id == customer_id:
                return replace(buyer, market=market)
        person = Person("", f"{customer_id.lower()}@example.com", None, "en", {})
        return Buyer(0, customer_id, person, market)
