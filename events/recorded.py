"""What upstream said, once it is ours: one fact for each news of an object."""

from msgspec import UNSET, Struct, UnsetType

from events.fact import Fact
from events.foreign import LASTING, Dispute, Effect, LicenceKey, Payment, Print, Refund, Subscription, Told
from events.ids import ChangeId
from events.money import Amount, Currency


class Recorded(Fact, frozen=True):
    """A foreign fact became ours, once. Sealed: the object as it came."""

    told: Told
    print: Print

    @property
    def status(self) -> str:
        """Of the object, where it has one."""
        return ""

    @property
    def stamp(self) -> str:
        """Orders what is said of one object; of one moment too, so that the order of arrival never decides.

        For the ledger and for the read models: they must agree on which word is the last.
        """
        updated = "" if self.told.updated is UNSET else self.told.updated
        return f"{self.told.time} {updated} {LASTING.get(self.status, 0)}{self.print}"


class FromWallet(Struct, frozen=True, kw_only=True):
    """What the wallet had paid of a payment's invoice when it failed, in all."""

    currency: Currency
    amount: Amount


class Answer(Struct, frozen=True, kw_only=True):
    """To a request of ours: whether the object is now as it was asked for."""

    request_id: ChangeId
    applied: bool


class PaymentRecorded(Recorded, frozen=True):
    """The newest that is known of a payment, and what follows for the wallet."""

    TYPE = "payment.recorded.v1"
    CATEGORY = "payment"

    payment: Payment
    effects: tuple[Effect, ...] = ()
    from_wallet: FromWallet | UnsetType = UNSET

    @property
    def status(self) -> str:
        return self.payment.status


class RefundRecorded(Recorded, frozen=True):
    """In the stream of its payment, with which it is decided together."""

    TYPE = "refund.recorded.v1"
    CATEGORY = "payment"

    refund: Refund
    effects: tuple[Effect, ...] = ()

    @property
    def status(self) -> str:
        return self.refund.status


class DisputeRecorded(Recorded, frozen=True):
    """In the stream of its payment, with which it is decided together."""

    TYPE = "dispute.recorded.v1"
    CATEGORY = "payment"

    dispute: Dispute
    effects: tuple[Effect, ...] = ()

    @property
    def status(self) -> str:
        return self.dispute.dispute_status


class SubscriptionRecorded(Recorded, frozen=True):
    """The newest that is known of a subscription."""

    TYPE = "subscription.recorded.v1"
    CATEGORY = "subscription"

    subscription: Subscription
    answer: Answer | UnsetType = UNSET

    @property
    def status(self) -> str:
        return self.subscription.status


class LicenceKeyRecorded(Recorded, frozen=True):
    """The newest that is known of a licence key."""

    TYPE = "licence_key.recorded.v1"
    CATEGORY = "licence_key"

    licence_key: LicenceKey


class UpstreamRecorded(Recorded, frozen=True):
    """Anything else that upstream said of a customer: kept, and nothing follows."""

    TYPE = "upstream.recorded.v1"
