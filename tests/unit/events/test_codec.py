"""Bytes either are what their topic promises, or `Malformed`: nothing else comes out."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from events import codec
from events.commands import AnyAsk, Command, RegisterCustomer
from events.facts import AnyFact
from events.personal import Personal
from events.replies import Outcome, Reply
from tests.unit.events import strategies
from tests.unit.events.test_golden import STORED, stored

DEEP = b"[" * 50_000 + b"]" * 50_000
COMMAND = (
    b'{"id":"c","source":"/api","type":"customer.register.v1","subject":"cus_1","businessid":"b","mode":"test",'
    b'"origin":"api","actor":"k","correlationid":"c","data":{"name":"n","email":"e"}}'
)
REPLY = codec.encode_reply(Reply(correlation="ab", outcome=Outcome.APPLIED, position="1:2", amount=5))
DECODERS: list[Callable[[bytes], object]] = [
    codec.decode_command,
    codec.decode_reply,
    lambda value: codec.decode_fact(codec.decode_envelope(value)),
]


def decodes_or_is_malformed(value: bytes) -> None:
    for decode in DECODERS:
        with suppress(codec.Malformed):
            decode(value)


@given(st.binary(max_size=200))
@example(b'{"data":' + DEEP + b"}")
@example(DEEP)
@example(b"\xff\xfe")
@example(b"")
def test_any_bytes(value: bytes) -> None:
    decodes_or_is_malformed(value)


@given(st.sampled_from([COMMAND, REPLY, *map(stored, STORED)]), st.data())
def test_bytes_that_are_nearly_right(valid: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(valid) - 1))
    until = data.draw(st.integers(at, min(len(valid), at + 8)))
    decodes_or_is_malformed(valid[:at] + data.draw(st.binary(max_size=8)) + valid[until:])


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(st.sampled_from([COMMAND, REPLY, *map(stored, STORED)]), json_values, st.data())
def test_values_of_other_types(valid: bytes, value: Any, data: st.DataObject) -> None:
    whole = json.loads(valid)
    inside = whole["data"] if whole.get("data") and data.draw(st.booleans()) else whole
    inside[data.draw(st.sampled_from(sorted(inside)))] = value
    decodes_or_is_malformed(json.dumps(whole).encode())


@pytest.mark.parametrize(
    ("change", "id_"),
    [
        ({"type": "wallet.rob.v1"}, "unknown type"),
        ({"subject": "cus_1\n"}, "line feed at the end"),
        ({"subject": "cus_" + "9" * 61}, "too long"),
        ({"deadline": "٢٠٢٦-11-23T00:00:00.000000Z"}, "digits of another script"),
        ({"deadline": "2026-11-23T00:00:00Z"}, "no microseconds"),
        ({"replyto": "٣/abababababababab"}, "partition in another script"),
        ({"mode": "prod"}, "unknown mode"),
        ({"attempt": -1}, "negative attempt"),
        ({"attempt": True}, "a boolean is no number"),
        ({"data": {"name": "a\x00", "email": "e"}}, "NUL"),
        ({"data": {"name": "n"}}, "missing field"),
        ({"data": {"name": "n", "email": "e", "metadata": {"k": 2**53}}}, "number at the edge"),
        (
            {"data": {"name": "n", "email": "e", "metadata": {"": "v"} | {str(i): i for i in range(51)}}},
            "many",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_commands_that_are_malformed(change: dict[str, Any], id_: str) -> None:
    codec.decode_command(COMMAND)
    with pytest.raises(codec.Malformed):
        codec.decode_command(json.dumps(json.loads(COMMAND) | change).encode())


def test_what_is_malformed_is_not_quoted() -> None:
    whole = json.loads(COMMAND) | {"idempotencykey": "", "data": {"name": 7, "email": "secret@example.com"}}
    with pytest.raises(codec.Malformed) as raised:
        codec.decode_command(json.dumps(whole).encode())
    assert "secret" not in str(raised.value)


def test_a_command_over_the_limit_is_malformed() -> None:
    padding = b" " * (codec.COMMAND_BYTES_MAX - len(COMMAND))
    codec.decode_command(COMMAND + padding)
    with pytest.raises(codec.Malformed, match="at most"):
        codec.decode_command(COMMAND + padding + b" ")


@given(strategies.facts)
def test_a_fact_survives_its_bytes(fact: AnyFact) -> None:
    whole = json.loads(stored("wallet.credited.v1")) | {"type": fact.TYPE}
    envelope = codec.decode_envelope(
        json.dumps(whole | {"data": json.loads(bytes(codec.encode_fact(fact)))}).encode()
    )
    assert codec.decode_fact(envelope) == fact
    assert codec.decode_envelope(codec.encode_envelope(envelope)) == envelope


@given(strategies.asks, strategies.command_attributes)
def test_a_command_survives_its_bytes(ask: AnyAsk, attributes: dict[str, Any]) -> None:
    command = Command(type=ask.TYPE, data=codec.encode_ask(ask), **attributes)
    value = codec.encode_command(command)
    decoded, decoded_ask = codec.decode_command(value)
    assert decoded_ask == ask
    assert codec.encode_command(decoded) == value


def test_personal_data_cannot_be_encoded_in_clear() -> None:
    fact = codec.decode_fact(codec.decode_envelope(stored("wallet.credited.v1")))
    with pytest.raises(AssertionError, match="sealed"):
        codec.encode_fact(type(fact)(**{**_fields(fact), "personal": Personal(name="Ann")}))


def _fields(fact: AnyFact) -> dict[str, Any]:
    return {name: getattr(fact, name) for name in fact.__struct_fields__}


@given(st.datetimes(timezones=st.just(UTC)))
@example(datetime(1, 1, 1, tzinfo=UTC))
@example(datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC))
def test_a_time_survives_its_text(moment: datetime) -> None:
    text = moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    assert codec.timestamp(codec.micros(text)) == text
    assert datetime.fromisoformat(codec.timestamp(codec.micros(text))) == moment


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30T00:00:00.000000Z",
        "0000-01-01T00:00:00.000000Z",
        "2026-12-31T23:59:60.000000Z",
        "2026-01-01",
        "",
    ],
)
def test_moments_that_never_were(text: str) -> None:
    with pytest.raises(codec.Malformed):
        codec.micros(text)


def test_request_fields_have_one_order_and_say_nothing_of_absent_ones() -> None:
    _, one = codec.decode_command(COMMAND)
    _, other = codec.decode_command(COMMAND.replace(b'{"name":"n","email":"e"}', b'{"email":"e","name":"n"}'))
    assert isinstance(one, RegisterCustomer)
    assert isinstance(other, RegisterCustomer)
    assert codec.business_fields(one) == codec.business_fields(other) == b'{"email":"e","name":"n"}'


def test_the_chain_begins_at_the_ledger_and_the_shard() -> None:
    assert codec.genesis("a", 1) != codec.genesis("a", 2) != codec.genesis("b", 2)
    assert (
        codec.genesis("ledger", 3).hex() == "4573c40858c05cda3cbedc3f4a386980219c7ee872d41afe7324eedf9228707e"
    )
