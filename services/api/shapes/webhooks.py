"""What upstream sends to the webhook door, and what it is answered; what is read of a delivery is in `webhooks.door`."""

from typing import Any, Literal

from msgspec import Struct

from services.api.shapes.customers import Moment


class Webhook(Struct, frozen=True, kw_only=True):
    """The envelope of Standard Webhooks as upstream sends it. A structured CloudEvent is taken, too."""

    type: str
    timestamp: Moment
    data: dict[str, Any]
    business_id: str | None = None


class WebhookTaken(Struct, frozen=True, kw_only=True):
    """`duplicate`: this `webhook-id` was taken before, nothing was done."""

    status: Literal["taken", "duplicate"]
