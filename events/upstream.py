"""What is asked of the ledger when upstream has said something: keep it, and do what follows."""

from msgspec import UNSET, Struct, UnsetType

from events.ask import Ask
from events.foreign import FAILED, Dispute, LicenceKey, Payment, Refund, Subscription, Told
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


class RecordPayment(RecordUpstream, frozen=True):
    """A payment as upstream sees it now."""

    TYPE = "payment.record.v1"

    payment: Payment

    @property
    def streams(self) -> tuple[str, ...]:
        """With that of its invoice where it has failed: what the wallet had paid of it is looked up there."""
        own = stream_name("payment", self.payment.payment_id)
        if self.payment.invoice_id is UNSET or self.payment.status not in FAILED:
            return (own,)
        return (own, stream_name("invoice", self.payment.invoice_id))


class RecordRefund(RecordUpstream, frozen=True):
    """A refund as upstream sees it now."""

    TYPE = "refund.record.v1"

    refund: Refund

    @property
    def streams(self) -> tuple[str, ...]:
        return (stream_name("payment", self.refund.payment_id),)


class RecordDispute(RecordUpstream, frozen=True):
    """A dispute as upstream sees it now."""

    TYPE = "dispute.record.v1"

    dispute: Dispute

    @property
    def streams(self) -> tuple[str, ...]:
        return (stream_name("payment", self.dispute.payment_id),)


class RecordSubscription(RecordUpstream, frozen=True):
    """A subscription as upstream sees it now."""

    TYPE = "subscription.record.v1"

    subscription: Subscription

    @property
    def streams(self) -> tuple[str, ...]:
        return (stream_name("subscription", self.subscription.subscription_id),)


class RecordLicenceKey(RecordUpstream, frozen=True):
    """A licence key as upstream sees it now."""

    TYPE = "licence_key.record.v1"

    licence_key: LicenceKey

    @property
    def streams(self) -> tuple[str, ...]:
        return (stream_name("licence_key", self.licence_key.licence_key_id),)


ForeignAsk = RecordPayment | RecordRefund | RecordDispute | RecordSubscription | RecordLicenceKey
