"""What was stored once is readable for ever: one stored event of each type, byte for byte."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from events import codec, sealing
from events.envelope import Envelope
from events.facts import (
    FACTS,
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
from events.foreign import CartItem, Dispute, Effect, LicenceKey, Payment, Refund, Subscription, Told
from events.generate import SCHEMAS
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
from events.requests import ChangeInClear, RefundItem
from events.upcasters import UPCASTERS

GOLDEN = Path(__file__).parents[2] / "golden"
KEY = bytes(range(32))

EXPECTED: dict[str, AnyFact] = {
    "customer.registered.v1": CustomerRegistered(
        preferred_locale="vi-VN",
        personal=Personal(
            name="Nguyễn Thị Minh Khai 🌸",
            email="khai@example.com",
            phone_number="+84901234567",
            metadata={"tier": "gold", "visits": 7, "beta": True, "score": 1.5},
            idempotency_key="register-khai",
        ),
    ),
    "customer.profile_changed.v1": CustomerProfileChanged(
        preferred_locale=None,
        personal=Personal(email="minh.khai@example.com", phone_number=None, idempotency_key="key-2"),
    ),
    "wallet.credited.v1": WalletCredited(
        entry_id="wle_2qP8sXcV5bN1mK4jH7gFd",
        currency="USD",
        amount=12500,
        balance_before=0,
        balance_after=12500,
        cause=Cause.TOP_UP,
        counter_account="gateway:upstream",
        reference="pay_3fGh7JkL9pQrStUvWxYz1",
        personal=Personal(reason="first top-up", idempotency_key="key-3"),
    ),
    "wallet.debited.v1": WalletDebited(
        entry_id="wle_7hJ2kL9pQ4rS6tU8vW1xY",
        currency="USD",
        amount=4999,
        balance_before=12500,
        balance_after=7501,
        cause=Cause.PURCHASE,
        counter_account="merchant:sales",
        reference="ord-1001",
        personal=Personal(reason="order 1001", idempotency_key="key-4"),
    ),
    "wallet.debit_refused.v1": WalletDebitRefused(
        refusal=Refusal.INSUFFICIENT_WALLET_FUNDS,
        currency="USD",
        amount=2**53 - 1,
        balance=7501,
        cause=Cause.PURCHASE,
        reference="ord-1002",
        personal=Personal(reason="order 1002"),
    ),
    "customer.command_refused.v1": CustomerCommandRefused(
        command="wallet.credit.v1",
        refusal=Refusal.UNSUPPORTED_CURRENCY,
        currency="EUR",
        amount=100,
        personal=Personal(idempotency_key="key-6"),
    ),
    "customer.blocked.v1": CustomerBlocked(
        block_id="blk_5tR8vB2nM4kJ6hG1fD3sA",
        since="2026-11-23T09:30:00.000123Z",
        personal=Personal(
            reason="chargeback fraud 🐍", identifier="minh.khai@example.com", idempotency_key="key-7"
        ),
    ),
    "customer.unblocked.v1": CustomerUnblocked(
        block_id="blk_5tR8vB2nM4kJ6hG1fD3sA",
        personal=Personal(reason="it was a mistake", idempotency_key="key-8"),
    ),
    "customer.closed.v1": CustomerClosed(personal=Personal(reason="moved away", idempotency_key="key-9")),
    "customer.erased.v1": CustomerErased(),
    "payment.recorded.v1": PaymentRecorded(
        told=Told(
            type="payment.succeeded",
            time="2026-11-23T09:30:59.000000Z",
            updated="2026-11-23T09:30:58.000000Z",
        ),
        print="00112233445566aa",
        payment=Payment(
            payment_id="pay_3fGh7JkL9pQrStUvWxYz1",
            status="succeeded",
            currency="USD",
            total_amount=13750,
            tax=1250,
            settlement_amount=13750,
            settlement_currency="USD",
            created_at="2026-11-23T09:30:00.000000Z",
            wallet_action="top_up",
            payment_method="card",
            payment_provider="stripe",
            subscription_id="sub_8mN1kJ4hG7fD2sA5vC9xB",
            product_cart=[CartItem(product_id="pdt_1", quantity=2)],
        ),
        effects=(
            Effect(
                rule="top_up", reference="pay_3fGh7JkL9pQrStUvWxYz1", currency="USD", moved=12500, short=0
            ),
        ),
        personal=Personal(
            foreign={
                "payment_id": "pay_3fGh7JkL9pQrStUvWxYz1",
                "billing": {"country": "VN", "street": "Lê Lợi 1"},
                "customer": {"name": "Nguyễn Thị Minh Khai 🌸", "email": "khai@example.com"},
                "tax": None,
                "of_tomorrow": [1, 2.5, True],
            },
            idempotency_key="pay_3fGh7JkL9pQrStUvWxYz1:payment.succeeded",
        ),
    ),
    "refund.recorded.v1": RefundRecorded(
        told=Told(type="refund.succeeded", time="2026-11-23T09:30:59.000000Z"),
        print="00112233445566bb",
        refund=Refund(
            refund_id="ref_1aB2cD3eF4gH5iJ6kL7mN",
            payment_id="pay_3fGh7JkL9pQrStUvWxYz1",
            status="succeeded",
            amount=500,
            currency="USD",
            is_partial=True,
            wallet_action="refund_to_wallet",
        ),
        effects=(
            Effect(rule="refund_to_wallet", reference="ref_1aB2cD3eF4gH5iJ6kL7mN", currency="USD", moved=500),
        ),
        personal=Personal(foreign={"reason": "damaged"}),
    ),
    "dispute.recorded.v1": DisputeRecorded(
        told=Told(type="dispute.opened", time="2026-11-23T09:30:59.000000Z"),
        print="00112233445566cc",
        dispute=Dispute(
            dispute_id="dp_9zY8xW7vU6tS5rQ4pO3n",
            payment_id="pay_3fGh7JkL9pQrStUvWxYz1",
            dispute_status="dispute_opened",
            dispute_stage="pre_dispute",
            amount=13750,
            currency="USD",
            is_resolved_by_rdr=False,
        ),
        effects=(
            Effect(
                rule="dispute",
                reference="dp_9zY8xW7vU6tS5rQ4pO3n",
                currency="USD",
                moved=-7501,
                short=4999,
                withheld="customer_closed",
            ),
        ),
        personal=Personal(foreign={"remarks": "ß"}),
    ),
    "subscription.recorded.v1": SubscriptionRecorded(
        told=Told(type="subscription.renewed", time="2026-11-23T09:30:59.000000Z"),
        print="00112233445566dd",
        subscription=Subscription(
            subscription_id="sub_8mN1kJ4hG7fD2sA5vC9xB",
            status="active",
            product_id="pdt_1",
            currency="USD",
            recurring_pre_tax_amount=1250,
            quantity=1,
            cancel_at_next_billing_date=False,
            payment_frequency_count=1,
            payment_frequency_interval="Month",
            next_billing_date="2026-12-23T09:30:59.000000Z",
        ),
        personal=Personal(foreign={"billing": {"country": "VN"}}),
    ),
    "licence_key.recorded.v1": LicenceKeyRecorded(
        told=Told(type="license_key.created", time="2026-11-23T09:30:59.000000Z"),
        print="00112233445566ee",
        licence_key=LicenceKey(
            licence_key_id="lic_4tR7vB1nM3kJ5hG9fD2sA",
            status="active",
            product_id="pdt_1",
            payment_id="pay_3fGh7JkL9pQrStUvWxYz1",
            source="auto",
            instances_count=0,
            activations_limit=3,
        ),
        personal=Personal(foreign={"key": "a5e7…"}),
    ),
    "upstream.recorded.v1": UpstreamRecorded(
        told=Told(type="credit.added", time="2026-11-23T09:30:59.000000Z"),
        print="00112233445566ff",
        personal=Personal(foreign={"amount": "10.5"}),
    ),
    "wallet.shortfall_recorded.v1": WalletShortfallRecorded(
        currency="USD", amount=4999, short=4999, cause=Cause.DISPUTE, reference="dp_9zY8xW7vU6tS5rQ4pO3n"
    ),
    "wallet.shortfall_released.v1": WalletShortfallReleased(
        currency="USD", amount=4999, short=0, cause=Cause.DISPUTE, reference="dp_9zY8xW7vU6tS5rQ4pO3n"
    ),
    "refund.requested.v1": RefundRequested(
        request_id="ref_6kJ5hG4fD3sA2qW1eR0tY",
        payment_id="pay_3fGh7JkL9pQrStUvWxYz1",
        currency="USD",
        amount=1500,
        is_partial=True,
        items=(RefundItem(item_id="pdt_1", amount=1500),),
        personal=Personal(
            reason="hỏng 📦", metadata={"ticket": "T-17", "calls": 2}, idempotency_key="key-20"
        ),
    ),
    "refund.made_to_wallet.v1": RefundMadeToWallet(
        refund=Refund(
            refund_id="ref_0zX9cV8bN7mL6kJ5hG4fD",
            payment_id="pay_3fGh7JkL9pQrStUvWxYz1",
            status="succeeded",
            amount=500,
            currency="USD",
            is_partial=True,
            created_at="2026-11-23T09:31:21.000123Z",
            wallet_action="refund_to_wallet",
        ),
        effects=(
            Effect(rule="refund_to_wallet", reference="ref_0zX9cV8bN7mL6kJ5hG4fD", currency="USD", moved=500),
        ),
        personal=Personal(reason="goodwill", metadata={"agent": "Ánh"}, idempotency_key="key-21"),
    ),
    "subscription.change_requested.v1": SubscriptionChangeRequested(
        request_id="scr_4fD3sA2qW1eR0tY9uI8oP",
        subscription_id="sub_8mN1kJ4hG7fD2sA5vC9xB",
        change=ChangeInClear(
            status="cancelled", cancel_reason="cancelled_by_customer", cancellation_feedback="too_expensive"
        ),
        personal=Personal(
            change={"cancellation_comment": "đắt quá", "billing": {"country": "VN"}}, idempotency_key="key-22"
        ),
    ),
    "wallet.top_up_requested.v1": TopUpRequested(
        request_id="top_1eR0tY9uI8oP7aS6dF5gH",
        currency="INR",
        amount=250000,
        personal=Personal(return_url="https://shop.example/thanks?c=khai", metadata={"campaign": "tết"}),
    ),
    "invoice.settled.v1": InvoiceSettled(
        settlement_id="set_7aS6dF5gH4jK3lZ2xC1vB",
        invoice_id="inv_2xC1vB0nM9qW8eR7tY6uI",
        currency="USD",
        amount=9000,
        applied=7501,
        balance_before=7501,
        entry_id="wle_7aS6dF5gH4jK3lZ2xC1vB",
        personal=Personal(reason="invoice of November", idempotency_key="key-24"),
    ),
    "invoice.settlement_returned.v1": InvoiceSettlementReturned(
        invoice_id="inv_2xC1vB0nM9qW8eR7tY6uI",
        payment_id="pay_3fGh7JkL9pQrStUvWxYz1",
        currency="USD",
        amount=7501,
    ),
}
STORED = sorted(path.stem for path in GOLDEN.glob("*.json"))


def stored(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes()


def schema(path: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads((SCHEMAS / path).read_text())
    return made


def test_every_type_has_a_golden_file_and_every_golden_file_a_type() -> None:
    assert set(STORED) == set(FACTS) | set(UPCASTERS)


@pytest.mark.parametrize("name", STORED)
def test_a_stored_event_decodes_to_what_was_meant(name: str) -> None:
    envelope = codec.decode_envelope(stored(name))
    fact = codec.decode_fact(envelope)
    assert sealing.unseal(fact, KEY, envelope.stream, envelope.id) == EXPECTED[name]
    assert (envelope.shard, envelope.subject, envelope.businessid) == (
        7,
        "cus_0K9mWv3xQ7rT2yB5nLpZa",
        "bus_golden",
    )


@pytest.mark.parametrize("name", STORED)
def test_a_stored_event_encodes_to_the_same_bytes(name: str) -> None:
    envelope = codec.decode_envelope(stored(name))
    assert codec.encode_envelope(envelope) == stored(name)
    if name not in UPCASTERS:
        assert bytes(codec.encode_fact(codec.decode_fact(envelope))) == bytes(envelope.data)


@pytest.mark.parametrize("name", STORED)
def test_no_field_that_was_stored_is_gone(name: str) -> None:
    """A removed or renamed field would decode silently: what is unknown is skipped."""
    whole = json.loads(stored(name))
    assert set(whole) <= {field.encode_name for field in msgspec.structs.fields(Envelope)}
    if name in FACTS:
        assert set(whole["data"]) <= {field.encode_name for field in msgspec.structs.fields(FACTS[name])}


@pytest.mark.parametrize("name", STORED)
def test_golden_files_show_every_required_field(name: str) -> None:
    if name in FACTS:
        required = {field.encode_name for field in msgspec.structs.fields(FACTS[name]) if field.required}
        assert required <= set(json.loads(stored(name))["data"])


@pytest.mark.parametrize("name", STORED)
def test_a_stored_event_fits_its_schemas(name: str) -> None:
    whole = json.loads(stored(name))
    jsonschema.Draft202012Validator(schema("envelope.json")).validate(whole)
    jsonschema.Draft202012Validator(schema(f"facts/{name}.json")).validate(whole["data"])


def test_the_schemas_refuse_what_is_not_a_fact() -> None:
    validator = jsonschema.Draft202012Validator(schema("facts/wallet.credited.v1.json"))
    data = json.loads(stored("wallet.credited.v1"))["data"]
    for wrong in ({"amount": 0}, {"amount": 2**53}, {"amount": "5"}, {"currency": "usd"}, {"cause": "theft"}):
        assert not validator.is_valid(data | wrong), wrong
    assert not validator.is_valid({key: value for key, value in data.items() if key != "entry_id"})
