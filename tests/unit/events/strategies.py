"""Hypothesis strategies for everything that travels, derived from the structs themselves."""

from typing import Any

from hypothesis import strategies as st
from msgspec import UNSET

from events.codec import timestamp
from events.commands import (
    AnyAsk,
    BlockCustomer,
    ChangeProfile,
    CloseCustomer,
    Command,
    CreditWallet,
    DebitWallet,
    EraseCustomer,
    RegisterCustomer,
    UnblockCustomer,
)
from events.facts import (
    AnyFact,
    Cause,
    CustomerBlocked,
    CustomerClosed,
    CustomerCommandRefused,
    CustomerErased,
    CustomerProfileChanged,
    CustomerRegistered,
    CustomerUnblocked,
    Refusal,
    WalletCredited,
    WalletDebited,
    WalletDebitRefused,
    WalletShortfallRecorded,
    WalletShortfallReleased,
)
from events.foreign import (
    CartItem,
    Dispute,
    Effect,
    LicenceKey,
    Payment,
    Refund,
    Subscription,
    Told,
)
from events.ids import derived
from events.money import AMOUNT_MAX
from events.personal import Personal
from events.recorded import (
    DisputeRecorded,
    LicenceKeyRecorded,
    PaymentRecorded,
    RefundRecorded,
    SubscriptionRecorded,
    UpstreamRecorded,
)
from events.requested import (
    InvoiceSettled,
    InvoiceSettlementReturned,
    RefundMadeToWallet,
    RefundRequested,
    SubscriptionChangeRequested,
    TopUpRequested,
)
from events.requests import (
    ChangeInClear,
    RefundItem,
    RefundToWallet,
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

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=60)
amounts = st.integers(1, AMOUNT_MAX)
balances = st.integers(0, AMOUNT_MAX)
currencies = st.sampled_from(["USD", "INR", "JPY"])
causes = st.sampled_from(Cause)
refusals = st.sampled_from(Refusal)
references = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128)
locales = st.sampled_from(["en", "vi-VN", "ar", "zh-Hans-CN"])
names_of_pairs = st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True)
whole_numbers = st.integers(-AMOUNT_MAX, AMOUNT_MAX)
fractions = st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer())
metadata = st.dictionaries(
    names_of_pairs, st.one_of(texts, whole_numbers, fractions, st.booleans()), max_size=5
)
identifiers = st.from_regex(r"[A-Za-z0-9_.:-]{1,40}", fullmatch=True)
customer_ids = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)


def _fields(
    wanted: dict[str, Any],
    optional: dict[str, Any] = {},  # noqa: B006 - never changed
) -> st.SearchStrategy[dict[str, Any]]:
    """Named fields of what is made of them."""
    return st.fixed_dictionaries(wanted, optional=optional)


def _absent_or(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of the fields may be absent."""
    return _fields({}, optional=fields)


objects = st.dictionaries(texts, st.one_of(texts, st.none(), whole_numbers, st.booleans()), max_size=3)
personal = _absent_or(
    name=texts,
    email=texts,
    phone_number=st.one_of(st.none(), texts),
    metadata=metadata,
    reason=texts,
    identifier=texts,
    idempotency_key=texts.filter(bool),
    foreign=objects,
    return_url=texts,
    change=objects,
).map(lambda fields: Personal(**fields))

moments = st.integers(0, 4_000_000_000_000_000).map(timestamp)
block_ids = st.integers().map(lambda number: derived("blk_", str(number)))

_movement = _fields(
    {
        "entry_id": st.integers().map(lambda number: derived("wle_", str(number))),
        "currency": currencies,
        "amount": amounts,
        "balance_before": balances,
        "balance_after": balances,
        "cause": causes,
        "counter_account": texts,
    },
    optional={"reference": references},
)
_refused = _fields(
    {"refusal": refusals, "currency": currencies, "amount": amounts, "balance": balances, "cause": causes},
    optional={"reference": references},
)
_command_refused = _fields(
    {"command": texts, "refusal": refusals},
    optional={"currency": currencies, "amount": amounts, "reference": references},
)

words = st.from_regex(r"[A-Za-z0-9_.:/-]{1,64}", fullmatch=True)
prints = st.from_regex(r"[0-9a-f]{16}", fullmatch=True)
_told = st.builds(Told, type=words, time=moments, updated=moments | st.just(UNSET))
_foreign = st.one_of(
    st.builds(
        RecordPayment,
        told=_told,
        foreign=objects,
        payment=st.builds(
            Payment,
            payment_id=references,
            status=words,
            currency=currencies,
            total_amount=balances,
            tax=balances | st.just(UNSET),
            created_at=moments | st.just(UNSET),
            wallet_action=words | st.just(UNSET),
            product_cart=st.just([CartItem(product_id="pdt_1", quantity=2)]) | st.just(UNSET),
        ),
    ),
    st.builds(
        RecordRefund,
        told=_told,
        foreign=objects,
        refund=st.builds(
            Refund,
            refund_id=references,
            payment_id=references,
            status=words,
            amount=balances | st.just(UNSET),
        ),
    ),
    st.builds(
        RecordDispute,
        told=_told,
        foreign=objects,
        dispute=st.builds(Dispute, dispute_id=references, payment_id=references, dispute_status=words),
    ),
    st.builds(
        RecordSubscription,
        told=_told,
        foreign=objects,
        subscription=st.builds(Subscription, subscription_id=references, status=words),
    ),
    st.builds(
        RecordLicenceKey,
        told=_told,
        foreign=objects,
        customer=st.builds(Named, name=texts, email=texts | st.just(UNSET)),
        licence_key=st.builds(LicenceKey, licence_key_id=references, status=words),
    ),
    st.builds(RecordUpstream, told=_told, foreign=objects),
)
_effects = st.lists(
    st.builds(
        Effect,
        rule=words,
        reference=references,
        currency=currencies,
        moved=whole_numbers,
        short=balances,
        withheld=words | st.just(UNSET),
    ),
    max_size=2,
).map(tuple)
_shortfall = {
    "currency": currencies,
    "amount": amounts,
    "short": balances,
    "cause": causes,
    "reference": references,
}


def _recorded(drawn: tuple[RecordUpstream, str, tuple[Effect, ...]]) -> AnyFact:
    """The fact that an ask of upstream's would leave."""
    ask, mark, effects = drawn
    match ask:
        case RecordPayment():
            return PaymentRecorded(told=ask.told, print=mark, payment=ask.payment, effects=effects)
        case RecordRefund():
            return RefundRecorded(told=ask.told, print=mark, refund=ask.refund, effects=effects)
        case RecordDispute():
            return DisputeRecorded(told=ask.told, print=mark, dispute=ask.dispute, effects=effects)
        case RecordSubscription():
            return SubscriptionRecorded(told=ask.told, print=mark, subscription=ask.subscription)
        case RecordLicenceKey():
            return LicenceKeyRecorded(told=ask.told, print=mark, licence_key=ask.licence_key)
        case _:
            return UpstreamRecorded(told=ask.told, print=mark)


_items = st.lists(st.builds(RefundItem, item_id=references, amount=amounts), min_size=1, max_size=2)
_clear = _absent_or(
    status=words,
    cancel_at_next_billing_date=st.booleans(),
    cancel_reason=words,
    next_billing_date=moments,
    subscription_period_count=st.integers(0, 99),
)


def _made(prefix: str) -> st.SearchStrategy[str]:
    return st.integers().map(lambda number: derived(prefix, str(number)))


_requested: st.SearchStrategy[AnyFact] = st.one_of(
    st.builds(
        RefundRequested,
        request_id=_made("ref_"),
        payment_id=references,
        currency=currencies,
        amount=amounts,
        is_partial=st.booleans(),
        items=_items.map(tuple),
    ),
    st.builds(
        RefundMadeToWallet,
        refund=st.builds(
            Refund, refund_id=_made("ref_"), payment_id=references, status=words, amount=amounts
        ),
        effects=_effects,
    ),
    st.builds(
        SubscriptionChangeRequested,
        request_id=_made("scr_"),
        subscription_id=references,
        change=_clear.map(lambda fields: ChangeInClear(**fields)),
    ),
    st.builds(TopUpRequested, request_id=_made("top_"), currency=currencies, amount=amounts),
    st.builds(
        InvoiceSettled,
        settlement_id=_made("set_"),
        invoice_id=references,
        currency=currencies,
        amount=amounts,
        applied=balances,
        balance_before=balances,
        entry_id=_made("wle_") | st.just(UNSET),
    ),
    st.builds(
        InvoiceSettlementReturned,
        invoice_id=references,
        payment_id=references,
        currency=currencies,
        amount=amounts,
    ),
)
_requests = st.one_of(
    _fields(
        {"payment_id": references},
        optional={
            "amount": amounts,
            "currency": currencies,
            "items": _items,
            "reason": texts,
            "metadata": metadata,
        },
    ).map(lambda fields: RequestRefund(**fields)),
    _fields({"payment_id": references}, optional={"amount": amounts, "reason": texts}).map(
        lambda fields: RefundToWallet(**fields)
    ),
    st.builds(
        RequestSubscriptionChange,
        subscription_id=references,
        change=st.tuples(_clear, _absent_or(customer_name=texts, billing=objects, metadata=metadata)).map(
            lambda parts: SubscriptionChange(**parts[0], **parts[1])
        ),
    ),
    st.builds(
        RequestTopUp,
        currency=currencies,
        amount=amounts,
        return_url=texts,
        metadata=metadata | st.just(UNSET),
    ),
    st.builds(SettleInvoice, invoice_id=references, currency=currencies, amount=amounts),
)

facts: st.SearchStrategy[AnyFact] = st.one_of(
    _absent_or(preferred_locale=locales).map(lambda fields: CustomerRegistered(**fields)),
    _absent_or(preferred_locale=st.one_of(st.none(), locales)).map(lambda f: CustomerProfileChanged(**f)),
    _fields({"block_id": block_ids}, optional={"since": moments}).map(
        lambda fields: CustomerBlocked(**fields)
    ),
    _absent_or(block_id=block_ids).map(lambda fields: CustomerUnblocked(**fields)),
    st.just(CustomerClosed()),
    st.just(CustomerErased()),
    _movement.map(lambda fields: WalletCredited(**fields)),
    _movement.map(lambda fields: WalletDebited(**fields)),
    _refused.map(lambda fields: WalletDebitRefused(**fields)),
    _command_refused.map(lambda fields: CustomerCommandRefused(**fields)),
    st.builds(WalletShortfallRecorded, **_shortfall),
    st.builds(WalletShortfallReleased, **_shortfall),
    st.tuples(_foreign, prints, _effects).map(_recorded),
    _requested,
)

_profile = {"phone_number": texts, "metadata": metadata, "preferred_locale": locales}
_money = _fields(
    {"currency": currencies, "amount": amounts},
    optional={"cause": causes, "reason": texts, "reference": references},
)
asks: st.SearchStrategy[AnyAsk] = st.one_of(
    _fields({"name": texts, "email": texts}, optional=_profile).map(lambda f: RegisterCustomer(**f)),
    _absent_or(name=texts, email=texts, **_profile).map(lambda fields: ChangeProfile(**fields)),
    _absent_or(reason=texts, identifier=texts).map(lambda fields: BlockCustomer(**fields)),
    _absent_or(reason=texts, block_id=block_ids).map(lambda fields: UnblockCustomer(**fields)),
    _absent_or(reason=texts).map(lambda fields: CloseCustomer(**fields)),
    st.just(EraseCustomer()),
    _money.map(lambda fields: CreditWallet(**fields)),
    _money.map(lambda fields: DebitWallet(**fields)),
    _foreign,
    _requests,
)

command_attributes = _fields(
    {
        "id": identifiers,
        "source": texts.filter(bool),
        "subject": customer_ids,
        "businessid": identifiers,
        "mode": st.sampled_from(["live", "test"]),
        "origin": st.sampled_from(["api", "intake", "portal", "system"]),
        "actor": identifiers,
        "correlationid": identifiers,
        "attempt": st.integers(0, 100),
    },
    optional={"idempotencykey": texts.filter(bool), "replyto": st.just("3/" + "ab" * 8)},
)

__all__ = ["Command", "asks", "command_attributes", "customer_ids", "facts", "personal"]
