"""What upstream tells of one customer: one of each thing that it knows."""

import secrets
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer

from events.codec import timestamp
from events.topics import PAYMENTS

MODE = "test"


class Told:
    """Ids of its own; `marked` stands in every personal field."""

    def __init__(self, business: str, customer: str, marked: str = "Mai") -> None:
        self.mark = secrets.token_hex(8)
        self.payment = f"pay_{self.mark}"
        self.refund = f"ref_{self.mark}"
        self.dispute = f"dsp_{self.mark}"
        self.subscription = f"sub_{self.mark}"
        self.licence_key = f"lic_{self.mark}"
        self._business = business
        self._marked = marked
        self._who = {"customer_id": customer, "name": marked, "email": f"{marked}@example.com"}
        self._now = timestamp(int(datetime.now(UTC).timestamp() * 1e6))

    def events(self) -> list[dict[str, Any]]:
        """The payment first, the licence key last."""
        who = {"customer": self._who, "customer_id": self._who["customer_id"], "created_at": self._now}
        money = {"currency": "USD", "payment_id": self.payment, **who}
        things = {
            "payment.succeeded": {
                **money, "total_amount": 1_000, "tax": 0, "status": "succeeded",
                "metadata": {"note": self._marked}, "billing": {"street": self._marked, "country": "VN"},
            },
            "refund.succeeded": {
                **money, "refund_id": self.refund, "amount": 100, "status": "succeeded", "reason": self._marked,
            },
            "dispute.opened": {
                **money, "dispute_id": self.dispute, "amount": "500", "dispute_status": "dispute_opened",
                "dispute_stage": "dispute", "remarks": self._marked,
            },
            "subscription.active": {
                **who, "subscription_id": self.subscription, "status": "active", "currency": "USD",
                "product_id": "pdt_1", "recurring_pre_tax_amount": 900,
            },
            "license_key.created": {
                **who, "id": self.licence_key, "key": f"KEY-{self._marked}", "status": "active",
                "payment_id": self.payment, "product_id": "pdt_1",
            },
        }  # fmt: skip
        return [
            {"business_id": self._business, "mode": MODE, "type": kind, "timestamp": self._now, "data": data}
            for kind, data in things.items()
        ]

    async def tell(self, bootstrap: str) -> None:
        """Returns when Kafka has all of it."""
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
        await producer.start()
        try:
            for event in self.events():
                await producer.send_and_wait(PAYMENTS.name, msgspec.json.encode(event), partition=0)
        finally:
            await producer.stop()
