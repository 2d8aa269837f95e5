"""What makes two requests the same, and what a key's receipt is made of."""

import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from events.codec import business_fields, decode_command, digest, encode_ask
from events.commands import AnyAsk, ChangeProfile, Command, CreditWallet, CustomerAsk, DebitWallet, Origin
from events.facts import Cause
from events.ids import Tenant, entry_id, stream_id
from events.upstream import Named
from services.ledger.batches import receipts
from tests.fakes.asking import REGISTER, command, credit, debit
from tests.unit.events.strategies import asks

SECRET = b"secret"
STREAM = stream_id(Tenant("biz_1", "live"), "customer-cus_a")


def made(ask: AnyAsk, **more: Any) -> tuple[Command, AnyAsk]:
    made, ask_again = decode_command(command(1, "cus_a", ask, **more))
    assert isinstance(ask_again, AnyAsk)
    return made, ask_again


def hashed(ask: CustomerAsk, secret: bytes = SECRET, **more: object) -> str:
    return receipts.request_hash(secret, *made(ask, **more))


CREDIT = CreditWallet(currency="USD", amount=5, cause=Cause.TOP_UP, reason="r", reference="pay_1")


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(replace(CREDIT, amount=6), id="amount"),
        pytest.param(replace(CREDIT, currency="INR"), id="currency"),
        pytest.param(replace(CREDIT, cause=Cause.REFUND), id="cause"),
        pytest.param(replace(CREDIT, reason="s"), id="reason"),
        pytest.param(replace(CREDIT, reference="pay_2"), id="reference"),
        pytest.param(
            DebitWallet(currency="USD", amount=5, cause=Cause.TOP_UP, reason="r", reference="pay_1"),
            id="debit",
        ),
    ],
)
def test_another_request_has_another_hash(other: CustomerAsk) -> None:
    assert hashed(other) != hashed(CREDIT)


@pytest.mark.parametrize("tenant", [Tenant("biz_2", "live"), Tenant("biz_1", "test")], ids=str)
def test_another_tenants_request_has_another_hash(tenant: Tenant) -> None:
    assert hashed(CREDIT, tenant=tenant) != hashed(CREDIT)


def test_a_hash_cannot_be_made_without_the_secret() -> None:
    assert hashed(CREDIT, secret=b"another") != hashed(CREDIT)


def test_what_is_no_business_of_the_request_does_not_change_its_hash() -> None:
    """A retry comes with another command id, another deadline and another correlation."""
    assert hashed(CREDIT) == hashed(CREDIT, key="k", attempt=2, deadline=1_790_000_000_000_000, identity="x")


def test_absent_null_and_empty_are_different_requests() -> None:
    said = [ChangeProfile(), ChangeProfile(phone_number=None), ChangeProfile(phone_number="")]
    assert len({hashed(ask) for ask in said}) == 3


def test_the_order_of_metadata_is_not_part_of_a_request() -> None:
    one, other = replace(REGISTER, metadata={"a": 1, "b": 2}), replace(REGISTER, metadata={"b": 2, "a": 1})
    assert encode_ask(one) != encode_ask(other)
    assert hashed(one) == hashed(other)


def test_the_hash_says_its_version() -> None:
    version, _, digits = hashed(CREDIT).partition(":")
    assert (version, len(digits)) == ("1", 64)


@given(asks, asks)
def test_two_requests_share_a_hash_only_if_they_are_the_same(one: CustomerAsk, other: CustomerAsk) -> None:
    assert (hashed(one) == hashed(other)) == (one == other)


def test_a_key_is_its_customers_and_its_origins() -> None:
    keys = {
        receipts.receipt_key(made(CREDIT, key=key, origin=origin)[0], stream)
        for key in ("k", "K")
        for origin in (Origin.API, Origin.INTAKE)
        for stream in (STREAM, stream_id(Tenant("biz_1", "test"), "customer-cus_a"))
    }
    assert len(keys) == 8
    assert len({entry_id(receipts.material_of(key)) for key in keys}) == 8


def test_a_command_without_a_key_has_one_from_its_id() -> None:
    first, again = made(debit(1), identity="cmd_x")[0], made(credit(1), identity="cmd_x")[0]
    other = made(debit(1), identity="cmd_y")[0]
    assert receipts.key_hash(first) == receipts.key_hash(again) != receipts.key_hash(other)


@given(st.from_regex(r"[A-Za-z0-9_.:-]{1,40}", fullmatch=True))
def test_no_idempotency_key_can_name_the_receipt_of_a_keyless_command(identity: str) -> None:
    keyless = receipts.key_hash(made(credit(1), identity=identity)[0])
    for guess in (identity, "command " + identity, "command" + identity):
        assert receipts.key_hash(made(credit(1), key=guess)[0]) != keyless
    assert keyless != digest(identity.encode())


def test_an_entry_is_named_after_its_receipt_and_nothing_else() -> None:
    key = receipts.receipt_key(made(CREDIT, key="k")[0], STREAM)
    again = receipts.receipt_key(made(debit(9), key="k", identity="another")[0], STREAM)
    assert entry_id(receipts.material_of(key)) == entry_id(receipts.material_of(again))
    assert entry_id(receipts.material_of(key)).startswith("wle_")


def test_what_is_stored_of_keys_and_requests_is_for_ever() -> None:
    """Receipts of years ago must be met: these bytes may never change."""
    keyless, ask = made(CREDIT, identity="cmd_1")
    assert receipts.key_hash(keyless) == hashlib.sha256(b"\x00command\x00cmd_1").digest()
    keyed, _ = made(CREDIT, key="k")
    assert receipts.key_hash(keyed) == hashlib.sha256(b"k").digest()
    head = b"wallet.credit.v1\x00biz_1/live\x00cus_a\x00"
    wanted = hmac.new(SECRET, head + business_fields(ask), "sha256").hexdigest()
    assert receipts.request_hash(SECRET, keyless, ask) == f"1:{wanted}"
    named = Named(name="Mai")
    wanted = hmac.new(
        SECRET, b"named\x00biz_1/live\x00cus_a\x00" + business_fields(named), "sha256"
    ).hexdigest()
    assert receipts.print_of(SECRET, keyless, named) == wanted[:16]
