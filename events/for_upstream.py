"""What upstream is asked, on `payments.requests`: in clear, for 30 days."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from events.commands import CustomerIdText, Identifier
from events.foreign import ForeignId
from events.ids import ChangeId, RefundId, TopUpId
from events.money import Amount, Currency
from events.personal import LongReason, Metadata, ReturnUrl
from events.requested import RefundRequested, SubscriptionChangeRequested, TopUpRequested
from events.requests import RefundItem, SubscriptionChange
from events.times import Timestamp


class RequestEvent(Struct, frozen=True, kw_only=True):
    """CloudEvents 1.0 envelope; `id` is the position of our fact. Records may repeat: de-duplicate by `id`."""

    specversion: Literal["1.0"] = "1.0"
    id: Annotated[str, Meta(description="the position of the fact, unique within the ledger")]
    source: Annotated[str, Meta(pattern=r"^/shards/[0-9]{1,4}\Z")]
    type: str
    subject: CustomerIdText
    time: Timestamp
    businessid: Identifier
    mode: Literal["live", "test"]
    datacontenttype: Literal["application/json"] = "application/json"
    data: Raw


class RefundRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Give `amount` back; tell of it as a refund with this id, or with `metadata.request_id`."""

    request_id: RefundId
    payment_id: ForeignId
    currency: Currency
    amount: Amount
    is_partial: bool
    items: tuple[RefundItem, ...] = ()
    reason: LongReason | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


class SubscriptionChangeRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Change what is given; the next news of the subscription is the answer. `change` is empty where it was erased."""

    request_id: ChangeId
    subscription_id: ForeignId
    change: SubscriptionChange


class TopUpRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Take a payment with `metadata` `{wallet_action: top_up, request_id}`."""

    request_id: TopUpId
    currency: Currency
    amount: Amount
    return_url: ReturnUrl | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


REQUESTS_BY_TYPE: dict[str, type[RefundRequest] | type[SubscriptionChangeRequest] | type[TopUpRequest]] = {
    RefundRequested.TYPE: RefundRequest,
    SubscriptionChangeRequested.TYPE: SubscriptionChangeRequest,
    TopUpRequested.TYPE: TopUpRequest,
}
