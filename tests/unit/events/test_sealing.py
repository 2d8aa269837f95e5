"""Personal data opens with its customer's key, at its own event, unchanged; and in no other case."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import sealing
from events.facts import AnyFact, CustomerRegistered
from events.personal import Personal
from tests.unit.events import strategies

KEY = sealing.new_key()
STREAM = "customer-cus_1"
FACT = CustomerRegistered(personal=Personal(name="Lê Thị Ánh 🌿", email="anh@example.com", phone_number=None))
SEALED = sealing.seal(FACT, KEY, STREAM, "3:9")


@given(strategies.facts, strategies.personal)
def test_what_was_sealed_opens_again(fact: AnyFact, personal: Personal) -> None:
    clear = type(fact)(**{**{n: getattr(fact, n) for n in fact.__struct_fields__}, "personal": personal})
    sealed = sealing.seal(clear, KEY, STREAM, "3:9")
    assert not hasattr(sealed.personal, "name")
    assert sealing.unseal(sealed, KEY, STREAM, "3:9") == clear


def test_a_fact_without_personal_data_stays_as_it_is() -> None:
    bare = CustomerRegistered(preferred_locale="en")
    assert sealing.seal(bare, KEY, STREAM, "3:9") is bare
    assert sealing.unseal(bare, KEY, STREAM, "3:9") is bare


@pytest.mark.parametrize(
    ("key", "stream", "position"),
    [
        (sealing.new_key(), STREAM, "3:9"),
        (KEY, "customer-cus_2", "3:9"),
        (KEY, STREAM, "3:10"),
        (KEY, STREAM, "4:9"),
    ],
    ids=["wrong key", "wrong customer", "wrong event", "wrong shard"],
)
def test_it_opens_nowhere_else(key: bytes, stream: str, position: str) -> None:
    with pytest.raises(sealing.Unsealable):
        sealing.unseal(SEALED, key, stream, position)


def test_every_flipped_bit_of_the_text_is_seen() -> None:
    text = str(SEALED.sealed)
    for at in range(len(text)):
        for bit in range(7):
            changed = text[:at] + chr(ord(text[at]) ^ 1 << bit) + text[at + 1 :]
            with pytest.raises(sealing.Unsealable):
                sealing.open_bytes(KEY, changed, sealing.additional_data(STREAM, "3:9"))


@given(st.text(max_size=80).map(lambda text: "1." + text))
def test_texts_that_are_no_seal(text: str) -> None:
    with pytest.raises(sealing.Unsealable):
        sealing.open_bytes(KEY, text, b"")


def test_two_seals_of_the_same_data_differ() -> None:
    assert sealing.seal(FACT, KEY, STREAM, "3:9").sealed != SEALED.sealed


def test_the_sealed_text_shows_nothing() -> None:
    raw = base64.urlsafe_b64decode(str(SEALED.sealed)[2:])
    assert b"example.com" not in raw
    assert len(raw) > 28


def test_a_data_key_opens_with_its_owner_and_key_encryption_key_only() -> None:
    kek, owner = sealing.new_key(), "owner-1"
    wrapped = sealing.wrap_key(kek, KEY, owner)
    assert sealing.unwrap_key(kek, wrapped, owner) == KEY
    for other in [
        (sealing.new_key(), wrapped, owner),
        (kek, wrapped, "owner-2"),
        (kek, wrapped[:-1], owner),
        (kek, b"", owner),
    ]:
        with pytest.raises(sealing.Unsealable):
            sealing.unwrap_key(*other)
