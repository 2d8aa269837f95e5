"""One odd word of upstream is left out; the object that has it, and the page with it, are answered."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from services.api import foreign_answers as answers
from services.api.foreign_ports import Data, Part, Person, Told, Whole
from services.api.shapes.foreign import (
    BillingAddress,
    Dispute,
    DisputeListItem,
    GetDispute,
    Payment,
    PaymentListItem,
    Refund,
    RefundListItem,
)
from services.api.shapes.licences import LicenseKey
from services.api.shapes.subscriptions import Subscription, SubscriptionListItem

MOMENT = datetime(2026, 11, 23, tzinfo=UTC)
PERSON = Person("cus_1", "Mai", "mai@example.com", None, {})
OF_PAYMENT = {
    "payment_id": "pay_1",
    "payment_total": 900,
    "payment_currency": "EUR",
    "brand_id": "brn_1",
    "provider": None,
}
ROWS: dict[str, Data] = {
    "payment_id": {
        "status": "succeeded", "currency": "EUR", "total_amount": 900, "brand_id": "brn_1", "subscription_id": None,
        "refunded": 0, "taken": 0, "succeeded": 0, "disputed": None,
    },
    "refund_id": OF_PAYMENT | {"status": "pending", "amount": None, "currency": None},
    "dispute_id": OF_PAYMENT | {"status": "dispute_opened", "stage": "dispute", "amount": None, "currency": None},
    "subscription_id": {"status": "active", "brand_id": "brn_1"},
    "licence_key_id": {"status": "active", "source": "auto", "instances": 2},
}  # fmt: skip
SHAPES: dict[type[Struct], str] = {
    PaymentListItem: "payment_id", Payment: "payment_id", RefundListItem: "refund_id", Refund: "refund_id",
    DisputeListItem: "dispute_id", GetDispute: "dispute_id", SubscriptionListItem: "subscription_id",
    Subscription: "subscription_id", LicenseKey: "licence_key_id",
}  # fmt: skip
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.just("2026-13-01"),
    st.text(), st.lists(st.integers()), st.dictionaries(st.text(), st.none() | st.lists(st.text())),
)  # fmt: skip


def shown(shape: type[Struct], came: Data) -> Struct:
    """An object of which upstream said `came`, and nothing is stored in clear but its id."""
    key = SHAPES[shape]
    told = Told(PERSON, MOMENT, MOMENT, {key: "id_1"}, came, ROWS[key])
    if shape is Payment:
        part = Part(MOMENT, {"refund_id": "ref_1"}, came, ROWS["refund_id"])
        dispute = Part(MOMENT, {"dispute_id": "dis_1"}, came, ROWS["dispute_id"])
        return answers.whole_payment("bus_one", Whole(1, told, [part], [dispute]))
    if shape is PaymentListItem:
        return answers.payment(PaymentListItem, "bus_one", told)
    if issubclass(shape, RefundListItem):
        return answers.refund(shape, "bus_one", told)
    if issubclass(shape, Dispute):
        return answers.dispute(shape, "bus_one", told)
    if shape is LicenseKey:
        return answers.licence_key("bus_one", told)
    return answers.subscription(
        Subscription if shape is Subscription else SubscriptionListItem, "bus_one", told
    )


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
@given(data=st.data())
def test_no_word_of_upstream_makes_an_object_unreadable(shape: type[Struct], data: st.DataObject) -> None:
    names = st.sampled_from([field.name for field in msgspec.structs.fields(shape)])
    came = data.draw(st.dictionaries(names, ODD, max_size=5))
    answer = msgspec.json.encode(shown(shape, came))
    assert msgspec.json.decode(answer, type=shape)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
@given(odd=ODD.filter(lambda odd: not isinstance(odd, str)))
def test_where_the_sdk_needs_a_value_another_type_counts_as_missing(shape: type[Struct], odd: Any) -> None:
    """No required field takes what is no text, but `settlement_amount`, which takes a number."""
    required = {field.name for field in msgspec.structs.fields(shape) if field.required}
    came = {name: odd for name in required if name != "settlement_amount" or not isinstance(odd, int | float)}
    assert shown(shape, came) == shown(shape, {})


def test_what_fits_is_shown_beside_what_does_not() -> None:
    came = {
        "next_billing_date": "",
        "previous_billing_date": "2026-11-01T00:00:00Z",
        "tax_id": 7,
        "product_id": "pdt_1",
    }
    answer = shown(Subscription, came)
    assert isinstance(answer, Subscription)
    assert answer.next_billing_date == MOMENT
    assert (answer.previous_billing_date, answer.product_id) == (datetime(2026, 11, 1, tzinfo=UTC), "pdt_1")
    assert answer.tax_id is None


def test_what_is_known_to_be_nothing_is_not_asked_of_the_object() -> None:
    """Only refunds that succeeded count, and disputes that were told of."""
    came = {"refund_status": "full", "dispute_status": "dispute_lost"}
    for shape in (Payment, PaymentListItem):
        answer = shown(shape, came)
        assert isinstance(answer, PaymentListItem | Payment)
        assert answer.refund_status is None
    assert isinstance(answer, PaymentListItem)
    assert answer.dispute_status is None


def test_what_is_not_known_is_asked_of_the_object() -> None:
    """A refund whose payment was not told of has neither amount nor currency of its own."""
    row = ROWS["refund_id"] | {"payment_total": None, "payment_currency": None}
    told = Told(PERSON, MOMENT, MOMENT, {"refund_id": "ref_1"}, {"amount": 7, "currency": "XYZ"}, row)
    answer = answers.refund(Refund, "bus_one", told)
    assert (answer.amount, answer.currency) == (7, "XYZ")


@pytest.mark.parametrize(
    ("came", "told"),
    [
        ("2026-11-01T02:00:00+07:00", "2026-10-31T19:00:00Z"),
        ("2026-11-01T02:00:00", "2026-11-01T02:00:00Z"),
        ("2026-11-01T02:00:00.5Z", "2026-11-01T02:00:00.500000Z"),
    ],
)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_times_of_the_object_are_told_in_utc(shape: type[Struct], came: str, told: str) -> None:
    times = {field.name for field in msgspec.structs.fields(shape) if "datetime" in str(field.type)}
    ours = {"created_at"}
    answer = msgspec.json.decode(msgspec.json.encode(shown(shape, dict.fromkeys(times, came))))
    assert {name: answer[name] for name in times - ours} == dict.fromkeys(times - ours, told)


def test_times_within_the_object_are_told_in_utc_and_metadata_as_it_is() -> None:
    period = {"subscription_id": "sub_1", "proration_factor": "1"}
    came = {
        "service_periods": [
            period | {"starts_at": "2026-11-01T00:00:00+07:00", "ends_at": "2026-12-01T00:00:00"}
        ],
        "metadata": {"sent_at": "2026-11-01T00:00:00+07:00"},
    }
    answer = msgspec.json.decode(msgspec.json.encode(shown(Payment, came)))
    [shown_period] = answer["service_periods"]
    assert shown_period == period | {"starts_at": "2026-10-31T17:00:00Z", "ends_at": "2026-12-01T00:00:00Z"}
    assert answer["metadata"] == came["metadata"]
    change = shown(Subscription, {"scheduled_change": {"effective_at": "2026-11-01T00:00:00+07:00"}})
    assert isinstance(change, Subscription)
    assert msgspec.to_builtins(change)["scheduled_change"] == {"effective_at": "2026-10-31T17:00:00Z"}


def test_a_time_that_utc_has_not_is_left_out() -> None:
    came = {"updated_at": "0001-01-01T00:00:00+14:00", "metadata": {"a": 1}}
    answer = shown(Payment, came)
    assert isinstance(answer, Payment)
    assert (answer.updated_at, answer.metadata) == (None, {"a": 1})


def test_an_address_without_a_country_keeps_the_rest() -> None:
    answer = shown(
        Payment,
        {"billing": {"country": None, "city": "Hue", "street": "1 Lê Lợi", "state": None, "zipcode": 530000}},
    )
    assert isinstance(answer, Payment)
    assert answer.billing == BillingAddress(city="Hue", street="1 Lê Lợi")
