"""What was stored once is readable for ever: one stored event of each type, byte for byte."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from events import codec, sealing
from events.facts import (
    FACTS,
    Cause,
    CustomerBlocked,
    CustomerClosed,
    CustomerCommandRefused,
    CustomerFact,
    CustomerProfileChanged,
    CustomerRegistered,
    CustomerUnblocked,
    Refusal,
    WalletCredited,
    WalletDebited,
    WalletDebitRefused,
)
from events.generate import SCHEMAS
from events.personal import Personal
from events.upcasters import UPCASTERS

GOLDEN = Path(__file__).parents[2] / "golden"
KEY = bytes(range(32))

EXPECTED: dict[str, CustomerFact] = {
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
    assert set(whole) <= {field.encode_name for field in msgspec.structs.fields(codec.Envelope)}
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
