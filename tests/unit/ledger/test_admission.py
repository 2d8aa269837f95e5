"""What becomes of a record before it may be decided."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from events.codec import COMMAND_BYTES_MAX
from events.commands import AnyAsk
from events.replies import Outcome
from events.requests import RequestSubscriptionChange, SubscriptionChange
from events.sharding import shard_of
from services.ledger.batches.admission import Asked, Bulk, Declined, Rejected, identity, read, unstorable
from services.ledger.ports import CommandRecord
from services.nesting import NESTED_MAX
from tests.fakes.asking import REPLIES_PARTITION, command, correlation, credit
from tests.unit.ledger.telling import other

SHARDS = 4
NOW = 1_790_000_000_000_000
CUSTOMER = "cus_a"
SHARD = shard_of(CUSTOMER, SHARDS)
OTHER = (SHARD + 1) % SHARDS
REPLY_TO = f"{REPLIES_PARTITION}/{correlation(1)}"


def taken(
    value: bytes, shard: int = SHARD, *, now: int = NOW, available: bool = True
) -> Asked | Declined | Rejected:
    found = read(CommandRecord(shard, 7, value), SHARDS, now, available)
    assert not isinstance(found, Bulk)
    return found


def rejected(value: bytes, shard: int = SHARD, *, now: int = NOW, available: bool = True) -> Rejected:
    found = taken(value, shard, now=now, available=available)
    assert isinstance(found, Rejected)
    assert found.record == CommandRecord(shard, 7, value)
    return found


def changed(**attributes: object) -> bytes:
    """A good command with some attributes of its JSON replaced; None leaves one out."""
    body = msgspec.json.decode(command(1, CUSTOMER, credit(5), key="k"))
    body |= attributes
    return msgspec.json.encode({name: value for name, value in body.items() if value is not None})


def told_at(time: str) -> bytes:
    """What upstream says, by a command of its own."""
    ask = other()
    return command(1, CUSTOMER, replace(ask, told=replace(ask.told, time=time)))


def test_a_good_command_is_taken() -> None:
    found = taken(command(1, CUSTOMER, credit(5), key="k"))
    assert isinstance(found, Asked)
    assert (found.ask, found.command.id, found.record.offset) == (credit(5), "cmd_1", 7)


def test_unknown_attributes_are_ignored() -> None:
    assert isinstance(taken(changed(traceparent="00-…", dataschema="x")), Asked)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff\xfe\x00", id="no text"),
        pytest.param(b"{", id="half"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"[" * 100_000, id="very deep"),
        pytest.param(b'{"a":' * 100_000, id="very deep objects"),
        pytest.param(b"0" * (COMMAND_BYTES_MAX + 1), id="huge"),
        pytest.param(changed(type="wallet.mint.v1"), id="unknown type"),
        pytest.param(changed(type="wallet.debit.v1", data={"currency": "USD"}), id="no amount"),
        pytest.param(changed(data={"currency": "USD", "amount": 0}), id="amount zero"),
        pytest.param(changed(data={"currency": "USD", "amount": -5}), id="amount below zero"),
        pytest.param(changed(data={"currency": "USD", "amount": 2**53}), id="amount too high"),
        pytest.param(changed(data={"currency": "USD", "amount": 5.5}), id="a fraction"),
        pytest.param(changed(data={"currency": "USD", "amount": "5"}), id="amount as text"),
        pytest.param(changed(data={"currency": "US\x00", "amount": 5}), id="NUL in the currency"),
        pytest.param(
            changed(data={"currency": "USD", "amount": 5, "reason": "\x00"}), id="NUL in the reason"
        ),
        pytest.param(changed(subject="../etc"), id="a path as customer"),
        pytest.param(changed(subject=""), id="no customer"),
        pytest.param(changed(businessid=None), id="no business"),
        pytest.param(changed(mode="prod"), id="unknown mode"),
        pytest.param(changed(origin="root"), id="unknown origin"),
        pytest.param(changed(idempotencykey=""), id="empty key"),
        pytest.param(changed(idempotencykey="k" * 256), id="long key"),
        pytest.param(changed(attempt=-1), id="attempt below zero"),
        pytest.param(changed(deadline="2026-02-30T00:00:00.000000Z"), id="no such day"),
        pytest.param(changed(effectivetime="2026-13-01T00:00:00.000000Z"), id="no such month"),
        pytest.param(changed(deadline="soon"), id="no time"),
        pytest.param(told_at("2026-13-01T00:00:00.000000Z"), id="upstream tells no month"),
    ],
)
def test_what_is_no_command_is_malformed(value: bytes) -> None:
    found = rejected(value)
    assert (found.outcome, found.code) == (Outcome.MALFORMED, "INVALID_COMMAND")


def nested(levels: int) -> Any:
    """Lists in each other."""
    whole: list[Any] = []
    for _ in range(levels - 1):
        whole = [whole]
    return whole


@pytest.mark.parametrize(
    "asking",
    [
        pytest.param(lambda inner: replace(other(), foreign={"x": inner}), id="what upstream said"),
        pytest.param(
            lambda inner: RequestSubscriptionChange(
                subscription_id="sub_1", change=SubscriptionChange(billing={"x": inner})
            ),
            id="what is asked of it",
        ),
    ],
)
def test_what_lies_too_deep_is_malformed(asking: Callable[[Any], AnyAsk]) -> None:
    """It is read again from a deeper stack, where no command's failure is its own."""
    surrounding = 2 if isinstance(asking([]), RequestSubscriptionChange) else 1
    assert isinstance(taken(command(1, CUSTOMER, asking(nested(NESTED_MAX - surrounding)))), Asked)
    found = rejected(command(1, CUSTOMER, asking(nested(NESTED_MAX - surrounding + 1))))
    assert (found.code, found.replyto) == ("INVALID_COMMAND", REPLY_TO)


def test_a_malformed_command_is_still_answered_where_it_says_where() -> None:
    assert rejected(changed(mode="prod")).replyto == REPLY_TO


@pytest.mark.parametrize("replyto", ["3", "x/00", "-1/" + "0" * 16, "3/zz", 5, None, "3/" + "0" * 500])
def test_a_reply_address_that_is_none_is_not_used(replyto: object) -> None:
    assert rejected(changed(mode="prod", replyto=replyto)).replyto == ""


@pytest.mark.parametrize("attribute", ["mode", "origin", "type", "subject", "deadline", "specversion"])
def test_no_value_of_a_malformed_command_is_repeated_in_its_answer(attribute: str) -> None:
    message = rejected(changed(**{attribute: "s3cret' - at `$.value"})).message
    assert message != ""
    assert "s3cret" not in message


def test_a_command_of_another_shard_is_rejected_before_its_deadline_is_looked_at() -> None:
    found = rejected(command(1, CUSTOMER, credit(5), deadline=NOW - 1), shard=OTHER)
    assert (found.outcome, found.code, found.replyto) == (Outcome.MALFORMED, "WRONG_SHARD", REPLY_TO)


@pytest.mark.parametrize(("after_micros", "late"), [(-1, True), (0, False), (1, False), (None, False)])
def test_a_command_is_void_after_its_deadline(after_micros: int | None, late: bool) -> None:
    deadline = None if after_micros is None else NOW + after_micros
    found = taken(command(1, CUSTOMER, credit(5), deadline=deadline))
    assert isinstance(found, Declined) == late
    if isinstance(found, Declined):
        otherwise = found.otherwise
        assert (otherwise.outcome, otherwise.code) == (Outcome.LATE, "DEADLINE_EXCEEDED")
        assert (otherwise.identity, otherwise.replyto) == ("cmd_1", REPLY_TO)


def test_nothing_is_taken_while_the_shard_may_not_grow() -> None:
    found = taken(command(1, CUSTOMER, credit(5)), available=False)
    assert isinstance(found, Declined)
    assert (found.otherwise.outcome, found.otherwise.code) == (Outcome.UNAVAILABLE, "SHARD_UNAVAILABLE")


def test_what_cannot_be_stored_keeps_its_address() -> None:
    found = unstorable(CommandRecord(SHARD, 7, command(1, CUSTOMER, credit(5))))
    assert (found.outcome, found.code, found.identity) == (Outcome.MALFORMED, "UNSTORABLE", "cmd_1")
    assert found.replyto == REPLY_TO


def test_a_record_is_recognised_by_its_command_id_else_by_its_bytes() -> None:
    assert identity(command(1, CUSTOMER, credit(5))) == "cmd_1"
    assert identity(b"{") != identity(b"[")
    assert identity(b"{").startswith("sha256:")


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
def test_no_bytes_do_more_than_be_rejected(value: bytes) -> None:
    assert rejected(value).outcome is Outcome.MALFORMED
