"""What stories are made of: few customers, few objects and small amounts, so that things meet; some amounts at the edge."""

from typing import Any

from hypothesis import strategies as st
from msgspec import UNSET

from events.codec import timestamp
from events.commands import (
    BlockCustomer,
    ChangeProfile,
    CloseCustomer,
    CreditWallet,
    CustomerAsk,
    DebitWallet,
    EraseCustomer,
    UnblockCustomer,
)
from events.foreign import Dispute, LicenceKey, Payment, Refund, Subscription, Told
from events.money import AMOUNT_MAX
from events.requests import (
    RefundItem,
    RefundToWallet,
    RequestAsk,
    RequestRefund,
    RequestSubscriptionChange,
    RequestTopUp,
    SettleInvoice,
    SubscriptionChange,
)
from events.upstream import (
    Named,
    RecordDispute,
    RecordLicenceKey,
    RecordPayment,
    RecordRefund,
    RecordSubscription,
    RecordUpstream,
)
from tests.fakes.simulation import START_MICROS
from tests.laws.strategies import asks, credits, currencies, debits, mixed, registrations
from tests.proof.oracle import Request

ASKED = "asked"
"""In the place of an id: the one that the service gave when it was asked last."""
TENANT_NAMES = ["biz_1/live", "biz_1/test"]
AGAIN = "again"
"""The key of news that intake does not recognise as told before."""
MOMENTS = 6

tenants = st.sampled_from(TENANT_NAMES)
customers = st.sampled_from(["cus_a", "cus_b"])
totals = mixed(*[st.integers(0, 12)] * 9, st.just(AMOUNT_MAX))
amounts = mixed(*[st.integers(1, 9)] * 9, st.just(AMOUNT_MAX))

_payments: list[dict[str, Any]] = [
    {"payment_id": "pay_1", "currency": "USD", "wallet_action": "top_up"},
    {"payment_id": "pay_2", "currency": "USD"},
    {"payment_id": "pay_3", "currency": "EUR", "wallet_action": "top_up"},
    {"payment_id": "pay_4", "currency": "USD", "invoice_id": "inv_1"},
    {"payment_id": "pay_5", "currency": "INR", "invoice_id": "inv_2"},
    {"payment_id": "pay_1", "currency": "USD", "wallet_action": "top_up"},
    {"payment_id": "pay_2", "currency": "USD"},
    {"payment_id": "pay_4", "currency": "USD", "invoice_id": "inv_1"},
    {"payment_id": "pay_1", "currency": "USD", "wallet_action": "top_up"},
    {"payment_id": "pay_2", "currency": "USD"},
    {"payment_id": "pay_1", "currency": "INR", "wallet_action": "top_up"},
    {"payment_id": "pay_2", "currency": "USD", "wallet_action": "top_up"},
    {"payment_id": "pay_1", "currency": "USD"},
]
"""Upstream may tell of one payment in several ways."""
payment_ids = st.sampled_from(["pay_1", "pay_1", "pay_1", "pay_2", "pay_2", "pay_3", "pay_4"])
subscription_ids = st.sampled_from(["sub_1", "sub_1", "sub_1", "sub_2"])


def moment(at: int) -> str:
    """Seconds into the story."""
    return timestamp(START_MICROS + at * 1_000_000)


def _told(kind: str) -> st.SearchStrategy[Told]:
    moments = st.integers(1, MOMENTS).map(moment)
    return st.builds(Told, type=st.just(kind), time=moments, updated=st.just(UNSET) | moments)


def _record(kind: type[RecordUpstream], name: str, data: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """One in three does not name the customer."""

    def named(told: Told, value: Any, says: int) -> RecordUpstream:
        who = Named(name="Mai", email="mai@example.com") if says else Named()
        return kind(told=told, customer=who, foreign={"of": name}, **({name: value} if name else {}))

    return st.builds(named, _told(f"{name}.changed" if name else "credit.added"), data, st.integers(0, 2))


_payment = _record(
    RecordPayment,
    "payment",
    st.builds(
        lambda known, **more: Payment(**known, **more),
        st.sampled_from(_payments),
        status=st.sampled_from([*["succeeded"] * 5, "processing", "failed", "cancelled"]),
        total_amount=totals,
        tax=st.just(UNSET) | st.integers(0, 3),
    ),
)
_part_paid = _record(
    RecordPayment,
    "payment",
    st.builds(
        Payment,
        payment_id=st.sampled_from(["pay_4", "pay_4", "pay_6"]),
        status=st.sampled_from(["succeeded", "failed", "failed", "cancelled"]),
        currency=st.just("USD"),
        invoice_id=st.just("inv_1"),
        total_amount=totals,
    ),
)
_refund = _record(
    RecordRefund,
    "refund",
    st.builds(
        Refund,
        refund_id=st.sampled_from(["ref_1", "ref_2", ASKED, ASKED]),
        payment_id=payment_ids,
        status=st.sampled_from(["pending", "succeeded", "succeeded", "failed"]),
        amount=st.just(UNSET) | amounts,
        currency=st.sampled_from([UNSET, UNSET, "USD", "USD", "INR"]),
        wallet_action=st.just(UNSET) | st.just("refund_to_wallet"),
    ),
)
_dispute = _record(
    RecordDispute,
    "dispute",
    st.builds(
        Dispute,
        dispute_id=st.sampled_from(["dp_1", "dp_2"]),
        payment_id=payment_ids,
        dispute_status=st.sampled_from(
            ["dispute_opened", "dispute_lost", "dispute_won", "dispute_cancelled"]
        ),
        amount=st.just(UNSET) | amounts,
        currency=st.sampled_from([UNSET, "USD", "EUR"]),
    ),
)
_subscription = _record(
    RecordSubscription,
    "subscription",
    st.builds(
        Subscription,
        subscription_id=subscription_ids,
        status=st.sampled_from([*["active"] * 6, "cancelled", "expired"]),
        cancel_at_next_billing_date=st.just(UNSET) | st.booleans(),
        request_id=st.just(UNSET) | st.just(ASKED),
    ),
)
_others = st.one_of(
    _record(RecordLicenceKey, "licence_key", st.just(LicenceKey(licence_key_id="lic_1", status="active"))),
    _record(RecordUpstream, "", st.none()),
)
news = mixed(
    _payment,
    _payment,
    _part_paid,
    _refund,
    _refund,
    _dispute,
    _dispute,
    _subscription,
    _subscription,
    _others,
)

_amount = st.just(UNSET) | amounts
wishes: st.SearchStrategy[RequestAsk] = mixed(
    st.builds(
        RequestRefund,
        payment_id=payment_ids,
        amount=_amount,
        currency=st.sampled_from([UNSET, UNSET, "USD", "INR"]),
    ),
    st.builds(
        RequestRefund,
        payment_id=payment_ids,
        items=st.lists(st.builds(RefundItem, item_id=st.just("pdt_1"), amount=amounts), min_size=1, max_size=2),
    ),
    *[st.builds(RefundToWallet, payment_id=payment_ids, amount=_amount)] * 2,
    st.builds(RequestTopUp, currency=currencies, amount=amounts),
    st.builds(SettleInvoice, invoice_id=st.sampled_from(["inv_1", "inv_2"]), currency=currencies, amount=amounts),
    *[st.builds(SettleInvoice, invoice_id=st.just("inv_1"), currency=st.just("USD"), amount=amounts)] * 4,
    *[st.builds(
        RequestSubscriptionChange,
        subscription_id=subscription_ids,
        change=st.sampled_from([
            SubscriptionChange(status="cancelled"),
            SubscriptionChange(cancel_at_next_billing_date=True),
            SubscriptionChange(tax_id="7"),
        ]),
    )] * 2,
)  # fmt: skip

keys = st.sampled_from([None, None, "k1", "k2", "k3", "k4"])
orders = st.builds(
    Request,
    tenant=tenants,
    customer=customers,
    ask=mixed(asks, asks, asks, registrations),
    key=keys,
    tries=st.sampled_from([0, 0, 0, 1, 2]),
    effective=st.just(""),
)
batches = st.lists(orders, min_size=1, max_size=4)


def _of_deals(asked: st.SearchStrategy[Any], *keys: str | None) -> st.SearchStrategy[Request]:
    """Nearly all of one customer, so that what is said of him comes together."""
    who = st.sampled_from([*["cus_a"] * 7, "cus_b"])
    return st.builds(lambda *what: Request(TENANT_NAMES[0], *what), who, asked, st.sampled_from(keys))


_spent: st.SearchStrategy[CustomerAsk] = mixed(
    *[st.builds(DebitWallet, currency=st.just("USD"), amount=st.integers(1, 9))] * 2,
    st.builds(CreditWallet, currency=st.just("USD"), amount=st.integers(1, 9)),
    st.builds(CreditWallet, currency=currencies, amount=st.integers(1, 9)),
    st.sampled_from([BlockCustomer(), *[UnblockCustomer()] * 3, *[ChangeProfile(name="D")] * 3, CloseCustomer()]),
    st.sampled_from([CloseCustomer(), EraseCustomer()]),
)  # fmt: skip
newscasts = _of_deals(news, None, None, AGAIN)
wished = _of_deals(wishes, *[None] * 8, "w1", "w2")
beginnings = st.lists(
    _of_deals(
        _record(
            RecordPayment,
            "payment",
            st.builds(
                lambda known, **more: Payment(status="succeeded", **known, **more),
                st.sampled_from(_payments[:5]),
                total_amount=st.integers(5, 12),
            ),
        ),
        None,
    ),
    min_size=3,
    max_size=6,
)
deals = st.lists(
    mixed(newscasts, newscasts, wished, wished, _of_deals(_spent, None, None, None, "s1")),
    min_size=1,
    max_size=4,
)
"""Of purchases: what upstream says of them, what is asked about them, and what becomes of the money meanwhile."""

moves = {
    f"k{number}": (DebitWallet if number % 3 == 0 else CreditWallet)(currency="USD", amount=number)
    for number in range(1, 9)
}
"""The same under the same key, so that repeats are frequent."""
entries = st.lists(
    mixed(*(
        *[st.builds(lambda customer, key: Request("", customer, moves[key], key), customers, st.sampled_from([*moves]))]
        * 2,
        st.builds(Request, st.just(""), customers, st.one_of(credits, debits), st.sampled_from([*moves])),
    )),
    min_size=1,
    max_size=5,
)  # fmt: skip
