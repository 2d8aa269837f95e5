"""What upstream sends is understood as far as it can be; what cannot says why, and names no value."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from events.codec import micros
from events.foreign import Payment
from events.ids import Tenant
from events.upstream import RecordDispute, RecordLicenceKey, RecordPayment, RecordRefund, RecordSubscription
from services.intake.record import NotUnderstood
from services.intake.understanding import TYPES, Said, understand
from services.nesting import NESTED_MAX

PERSON = {"customer_id": "cus_1", "name": "Mai", "email": "mai@example.com", "phone_number": None}
PAYMENT = {
    "payment_id": "pay_1",
    "customer": PERSON,
    "currency": "USD",
    "total_amount": 1100,
    "tax": None,
    "payment_method": None,
    "created_at": "2026-11-23T10:00:00.5+01:00",
    "metadata": {"wallet_action": "top_up"},
    "of_tomorrow": [None, {"x": 1}],
}


NOW = micros("2026-11-23T10:00:00.000000Z")


def said(kind: str = "payment.succeeded", data: Any = None, mode: str = "live", **more: Any) -> Said:
    whole = {"business_id": "bus_1", "type": kind, "timestamp": "2026-11-23T10:00:00Z"}
    return understand(
        json.dumps({**whole, "data": PAYMENT if data is None else data, **more}).encode(), mode, NOW
    )


def test_a_payment_with_nulls_and_fields_of_tomorrow() -> None:
    one = said()
    assert isinstance(one.ask, RecordPayment)
    assert (one.tenant, one.customer, one.payment, one.known) == (
        Tenant("bus_1", "live"),
        "cus_1",
        "pay_1",
        True,
    )
    assert one.ask.payment == Payment(
        payment_id="pay_1",
        status="succeeded",
        currency="USD",
        total_amount=1100,
        created_at="2026-11-23T09:00:00.500000Z",
        wallet_action="top_up",
    )
    assert one.ask.foreign == PAYMENT
    assert (one.ask.customer.name, one.ask.customer.phone_number) == ("Mai", UNSET)


def test_both_doors_make_the_same_of_it() -> None:
    event = {"specversion": "1.0", "id": "e", "source": "/", "type": "com.example.payment.succeeded"}
    cloud = {
        **event,
        "time": "2026-11-23T11:00:00+01:00",
        "businessid": "bus_1",
        "mode": "live",
        "data": PAYMENT,
    }
    assert understand(json.dumps(cloud).encode(), "", NOW) == said()


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_all_types_are_understood(kind: str) -> None:
    ids = ("refund", "dispute", "subscription", "payout")
    data = {**PAYMENT, "id": "lic_1", "amount": "400", **{f"{name}_id": f"{name}_1" for name in ids}}
    one = said(kind, data)
    assert one.known
    assert one.ask is not None
    wanted = {
        "payment": RecordPayment,
        "refund": RecordRefund,
        "dispute": RecordDispute,
        "subscription": RecordSubscription,
        "license_key": RecordLicenceKey,
    }
    assert type(one.ask) is wanted.get(kind.partition(".")[0], type(one.ask))
    if isinstance(one.ask, RecordDispute):
        assert one.ask.dispute.amount == 400


def test_there_are_48_types() -> None:
    assert len(TYPES) == 48


def test_an_unknown_type_is_kept_and_a_payout_is_nobodys() -> None:
    assert not said("wallet.invented").known
    assert said("wallet.invented").ask is not None
    assert said("payout.created", {"payout_id": "pyt_1"}).ask is None


def test_a_dispute_names_its_payment_only() -> None:
    one = said("dispute.opened", {"dispute_id": "dp_1", "payment_id": "pay_1", "amount": "4.00"})
    assert (one.customer, one.payment) == ("", "pay_1")
    assert isinstance(one.ask, RecordDispute)
    assert (one.ask.dispute.dispute_status, one.ask.dispute.amount) == ("dispute_opened", UNSET)


def test_the_same_content_has_one_key_and_another_content_another() -> None:
    assert said().key == said(id="another delivery").key
    assert said().key != said(data={**PAYMENT, "total_amount": 1}).key


def deep(levels: int, inmost: bytes = b"7") -> bytes:
    """An event that holds so many lists, one in the other."""
    whole = {"business_id": "b", "type": "moon.risen", "timestamp": "2026-11-23T10:00:00Z", "data": {"x": 0}}
    return json.dumps(whole).encode().replace(b'"x": 0', b'"x": ' + b"[" * levels + inmost + b"]" * levels)


def test_what_is_not_too_deep_is_kept() -> None:
    assert understand(deep(NESTED_MAX - 2), "live", NOW).ask is None
    with pytest.raises(NotUnderstood):
        understand(deep(NESTED_MAX - 1), "live", NOW)


def test_what_cannot_name_a_payment_does_not() -> None:
    """It would be kept, and looked up, as the key of a row."""
    odds: list[object] = ["p" * 129, "x" * 4_000, "", "pay 1", 7, ["pay_1"], {}]
    for odd in odds:
        one = said(type="license_key.created", data={"id": "lic_1", "customer": PERSON, "payment_id": odd})
        assert (one.payment, one.customer) == ("", "cus_1")
    assert said(type="license_key.created", data={"id": "lic_1", "payment_id": "pay_1"}).payment == "pay_1"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"", "NOT_JSON"),
        (b'{"a":"\xff"}', "NOT_JSON"),
        (b"[" * 100_000, "NOT_JSON"),
        (deep(700), "TOO_LARGE"),
        (deep(700, b'"\\u0000"'), "TOO_LARGE"),
        (b'"text"', "NOT_AN_EVENT"),
        (b'{"type":1,"data":{}}', "NOT_AN_EVENT"),
        (b'{"type":"payment.failed","data":[]}', "NOT_AN_EVENT"),
        (b'{"type":"payment.failed","data":{}}', "INCOMPLETE"),
        (b'{"type":"payment.failed","data":{"business_id":"b"}}', "NO_TIME"),
        (b'{"type":"payment.failed","data":{"business_id":"b"},"mode":"prod"}', "NO_MODE"),
        (
            b'{"type":"payment.failed","timestamp":"2026-01-01T00:00:00Z","data":{"business_id":"b"}}',
            "INCOMPLETE",
        ),
        (b" " * 200_000, "TOO_LARGE"),
    ],
)
def test_what_cannot_be_understood_says_why(value: bytes, code: str) -> None:
    with pytest.raises(NotUnderstood) as caught:
        understand(value, "live", NOW)
    assert caught.value.code == code


def test_a_reason_names_no_value() -> None:
    with pytest.raises(NotUnderstood) as caught:
        said(data={**PAYMENT, "customer": {"customer_id": "mai@example.com"}})
    assert "mai" not in str(caught.value)


def test_nul_is_left_out() -> None:
    one = said(data={**PAYMENT, "customer": {**PERSON, "name": "M\x00ai"}})
    assert one.ask is not None
    assert (one.ask.customer.name, one.ask.foreign["customer"]["name"]) == ("Mai", "Mai")


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(
    st.sampled_from(sorted(TYPES)),
    st.dictionaries(st.sampled_from([*PAYMENT, "refund_id", "id"]), json_values),
)
def test_whatever_the_fields_hold_it_is_understood_or_put_aside(kind: str, odd: dict[str, Any]) -> None:
    with suppress(NotUnderstood):
        assert len(said(kind, {**PAYMENT, **odd}).key) <= 255


REFUND = {"refund_id": "ref_of_upstream", "payment_id": "pay_1", "customer": PERSON, "status": "succeeded"}
ASKED = "ref_" + "a1" * 10 + "Z"


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ({"request_id": ASKED}, ASKED),
        ({"request_id": "ref_of_upstream_2"}, "ref_of_upstream"),
        ({"request_id": None}, "ref_of_upstream"),
        ({"request_id": 7}, "ref_of_upstream"),
        (None, "ref_of_upstream"),
    ],
)
def test_a_refund_that_we_asked_for_goes_by_the_id_that_the_asker_was_given(metadata: Any, name: str) -> None:
    ask = said("refund.succeeded", {**REFUND, "metadata": metadata}).ask
    assert isinstance(ask, RecordRefund)
    assert (ask.refund.refund_id, ask.foreign["refund_id"]) == (name, "ref_of_upstream")


def test_a_refund_that_we_asked_for_goes_to_the_card_whatever_its_metadata_says() -> None:
    """Upstream passes on the metadata of whoever asked; a refund of its own may go to the wallet."""
    for request, action in ((ASKED, UNSET), (None, "refund_to_wallet")):
        metadata = {"request_id": request, "wallet_action": "refund_to_wallet"}
        ask = said("refund.succeeded", data={**REFUND, "metadata": metadata}).ask
        assert isinstance(ask, RecordRefund)
        assert ask.refund.wallet_action == action


@pytest.mark.parametrize("status", [None, 5, "", "requires action", ["succeeded"]])
def test_a_status_that_is_none_is_taken_from_the_type(status: Any) -> None:
    ask = said("payment.succeeded", data={**PAYMENT, "status": status}).ask
    assert isinstance(ask, RecordPayment)
    assert ask.payment.status == "succeeded"


def test_a_refund_by_the_id_of_its_request_needs_to_say_no_more() -> None:
    ask = said("refund.failed", {**REFUND, "refund_id": ASKED}).ask
    assert isinstance(ask, RecordRefund)
    assert ask.refund.refund_id == ASKED


def test_payments_and_subscriptions_name_their_request_in_metadata_only() -> None:
    paid = said(data={**PAYMENT, "request_id": "other", "metadata": {"request_id": "top_1"}}).ask
    plain = said(data={**PAYMENT, "request_id": "other"}).ask
    plan = {"subscription_id": "sub_1", "customer": PERSON, "metadata": {"request_id": "scr_1"}}
    changed = said("subscription.cancelled", plan).ask
    assert isinstance(paid, RecordPayment)
    assert isinstance(plain, RecordPayment)
    assert isinstance(changed, RecordSubscription)
    asked = (paid.payment.request_id, plain.payment.request_id, changed.subscription.request_id)
    assert asked == ("top_1", UNSET, "scr_1")
