"""What is asked of the ledger when upstream has said something: keep it, and do what follows."""

from msgspec import UNSET, Struct, UnsetType

from events.ask import Ask
from events.foreign import Dispute, LicenceKey, Payment, Refund, Subscription, Told
from events.ids import stream_name
from events.personal import Email, Foreign, Metadata, Name, Phone


class Named(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How upstream names the customer; where it says nothing he is not named."""

    name: Name | UnsetType = UNSET
    email: Email | UnsetType = UNSET
    phone_number: Phone | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


class RecordUpstream(Ask, frozen=True, kw_only=True):
    """Something that upstream said of a customer and nothing follows from."""

    TYPE = "upstream.record.v1"

    told: Told
    foreign: Foreign
    customer: Named = Named()

    @property
    def stream(self) -> str:
        """Of the object that this is about; "" where it stands in the customer's own."""
        return ""


class RecordPayment(RecordUpstream, frozen=True):
    """A payment as upstream sees it now."""

    TYPE = "payment.record.v1"

    payment: Payment

    @property
    def stream(self) -> str:
        return stream_name("payment", self.payment.payment_id)


class RecordRefund(RecordUpstream, frozen=True):
    """A refund as upstream sees it now."""

    TYPE = "refund.record.v1"

    refund: Refund

    @property
    def stream(self) -> str:
        return stream_name("payment", self.refund.payment_id)


class RecordDispute(RecordUpstream, frozen=True):
    """A dispute as upstream sees it now."""

    TYPE = "dispute.record.v1"

    dispute: Dispute

    @property
    def stream(self) -> str:
        return stream_name("payment", self.dispute.payment_id)


class RecordSubscription(RecordUpstream, frozen=True):
    """A subscription as upstream sees it now."""

    TYPE = "subscription.record.v1"

    subscription: Subscription

    @property
    def stream(self) -> str:
        return stream_name("subscription", self.subscription.subscription_id)


class RecordLicenceKey(RecordUpstream, frozen=True):
    """A licence key as upstream sees it now."""

    TYPE = "licence_key.record.v1"

    licence_key: LicenceKey

    @property
    def stream(self) -> str:
        return stream_name("licence_key", self.licence_key.licence_key_id)


ForeignAsk = RecordPayment | RecordRefund | RecordDispute | RecordSubscription | RecordLicenceKey
