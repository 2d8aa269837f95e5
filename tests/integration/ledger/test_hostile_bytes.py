"""Whatever lies in `ledger.commands`: it is put aside, sealed and counted, and the partition goes on."""

from typing import Any
from uuid import uuid4

import msgspec
import pytest

from events.codec import encode_command
from events.replies import Outcome
from events.sealing import open_bytes
from events.topics import DEAD_LETTERS
from services.coffin import month_owner
from services.keyring import KeyRing, parse_kek
from tests.asking import REPLY_PARTITION, Asker, Sent, credit, customer_in, read_topic, registration
from tests.integration.ledger.conftest import SHARDS, audit
from tests.running import Process, System

SHARD = 2
RECORD_BYTES_MAX = 1024 * 1024 - 200  # what the broker takes, less the record's head
NUMBER = b'"amount":5'
MALFORMED = "INVALID_COMMAND"


@pytest.fixture
def worker(system: System) -> Process:
    process = system.service("ledger", "worker")
    process.start()
    return process


async def accepted(asker: Asker) -> tuple[Sent, dict[str, Any]]:
    """A credit that is good, and its parts, to be spoiled."""
    customer = customer_in(SHARD, SHARDS, uuid4().hex[:8])
    assert (await asker.ask(customer, registration(), f"register {customer}")).outcome is Outcome.APPLIED
    sent = await asker.send(customer, credit(5), uuid4().hex)
    assert (await asker.reply(sent)).outcome is Outcome.APPLIED
    return sent, msgspec.json.decode(encode_command(sent.command))


def spoiled(good: dict[str, Any], data: dict[str, object] | None = None, **changes: object) -> bytes:
    """Another command like it: with its own id, key and reply address, and with these changes."""
    mark = uuid4().hex
    fresh = {"id": mark, "idempotencykey": mark, "replyto": f"{REPLY_PARTITION}/{mark}"}
    return msgspec.json.encode(good | fresh | {"data": good["data"] | (data or {})} | changes)


def amount(good: dict[str, Any], written: bytes) -> bytes:
    """With these bytes in place of its amount."""
    return spoiled(good).replace(NUMBER, written)


def bytes_that_are_no_command(good: dict[str, Any]) -> dict[str, bytes | None]:
    whole = spoiled(good)
    return {
        "nothing": b"",
        "null value": None,
        "truncated": whole[:-20],
        "two in one": spoiled(good) + whole,
        "not UTF-8": b"\xff\xfe" + spoiled(good),
        "a list": b"[1,2,3]",
        "null": b"null",
        "300 kB": spoiled(good)[:-1] + b',"x":"' + b"x" * 300_000 + b'"}',
        "as much as Kafka takes": b"\x00" * RECORD_BYTES_MAX,
        "deep nesting": b"[" * 200_000,
        "deep nesting inside": amount(good, NUMBER + b',"x":' + b'{"x":' * 30_000 + b"1" + b"}" * 30_000),
        "huge number": amount(good, b'"amount":' + b"9" * 5_000),
        "beyond 64 bits": amount(good, b'"amount":18446744073709551617'),
        "beyond exact": amount(good, b'"amount":9007199254740992'),
        "float amount": amount(good, b'"amount":5.0'),
        "exponent": amount(good, b'"amount":1e400'),
        "lone surrogate": amount(good, NUMBER + b',"reason":"\\ud800"'),
        "raw NUL": amount(good, NUMBER + b',"reason":"a\x00b"'),
    }


def commands_that_are_wrong(good: dict[str, Any], elsewhere: str) -> dict[str, bytes]:
    return {
        "NUL in a text": spoiled(good, {"reason": "a\x00b"}),
        "NUL in the key": spoiled(good, idempotencykey="a\x00b"),
        "negative amount": spoiled(good, {"amount": -5}),
        "no amount": spoiled(good, {"amount": 0}),
        "amount as text": spoiled(good, {"amount": "5"}),
        "amount as truth": spoiled(good, {"amount": True}),
        "currency in small letters": spoiled(good, {"currency": "usd"}),
        "unknown cause": spoiled(good, {"cause": "theft"}),
        "future version": spoiled(good, type="wallet.credit.v2"),
        "future envelope": spoiled(good, specversion="2.0"),
        "wrong schema": spoiled(good, type="customer.register.v1"),
        "no data": spoiled(good).replace(b'"data"', b'"dato"'),
        "data is a list": spoiled(good).replace(b'"data":{', b'"data":[{').replace(b"}}", b"}]}"),
        "no such day": spoiled(good, deadline="2027-02-30T00:00:00.000000Z"),
        "no such year": spoiled(good, effectivetime="0000-01-01T00:00:00.000000Z"),
        "strange subject": spoiled(good, subject="cus/../../x"),
        "strange mode": spoiled(good, mode="prod"),
        "retried for ever": spoiled(good, attempt=10**9),
        "reply to nowhere": spoiled(good, replyto="../etc/passwd"),
        "wrong shard": spoiled(good, subject=elsewhere),
    }


async def test_hostile_bytes_are_put_aside_and_the_partition_goes_on(
    system: System, asker: Asker, worker: Process
) -> None:
    sent, good = await accepted(asker)
    elsewhere = customer_in(SHARD + 1, SHARDS, "elsewhere")
    hostile = bytes_that_are_no_command(good) | commands_that_are_wrong(good, elsewhere)

    offsets = {name: await asker.send_bytes(value, SHARD, b"key") for name, value in hostile.items()}
    reply = await asker.ask(sent.command.subject, credit(7), uuid4().hex)

    assert (reply.outcome, reply.balance_before, reply.balance_after) == (Outcome.APPLIED, 5, 12)
    found = await dead_letters(system)
    assert {name: found[offset] for name, offset in offsets.items()} == {
        name: ("WRONG_SHARD" if name == "wrong shard" else MALFORMED, value or b"")
        for name, value in hostile.items()
    }
    assert worker.metric("wallet_ledger_dead_letters_total", code=MALFORMED) == len(hostile) - 1
    assert worker.metric("wallet_ledger_dead_letters_total", code="WRONG_SHARD") == 1
    assert worker.returncode() is None
    assert not worker.said("worker_starts_anew")
    await audit(system, asker)


async def dead_letters(system: System) -> dict[int, tuple[str, bytes]]:
    """Code and opened payload by offset; the letters themselves tell nothing."""
    ring = KeyRing(
        system.settings.keys_dsn.get_secret_value(),
        parse_kek(system.settings.key_encryption_key.get_secret_value()),
    )
    found = {}
    for value in (await read_topic(system.kafka.bootstrap, 1, DEAD_LETTERS.name))[0]:
        letter = msgspec.json.decode(value)
        owner, place = (
            month_owner(letter["month"]),
            f"{letter['topic']}/{letter['partition']}/{letter['offset']}",
        )
        key = ring.get({owner})[owner]
        assert letter["partition"] == SHARD
        found[letter["offset"]] = (
            letter["code"],
            open_bytes(key, letter["sealed"], f"{letter['month']}|{place}".encode()),
        )
        assert not {"amount", "USD", "b@example.com"} & set(
            msgspec.json.encode(letter | {"sealed": ""}).decode().split('"')
        )
    ring.forget()
    return found


async def test_who_sent_a_wrong_command_is_told(asker: Asker, worker: Process) -> None:
    _, good = await accepted(asker)
    mark = uuid4().hex
    value = spoiled(good, {"amount": -5}, replyto=f"{REPLY_PARTITION}/{mark}")
    await asker.send_bytes(value, SHARD)
    reply = await asker.answer(mark)
    assert (reply.outcome, reply.code, reply.position) == (Outcome.MALFORMED, MALFORMED, "")


async def test_a_reply_address_that_does_not_exist_disturbs_nobody(asker: Asker, worker: Process) -> None:
    sent, good = await accepted(asker)
    for partition in (8, 9999):
        await asker.send_bytes(spoiled(good, replyto=f"{partition}/{uuid4().hex}"), SHARD)
    for _ in range(5):
        assert (await asker.ask(sent.command.subject, credit(1), uuid4().hex)).outcome is Outcome.APPLIED
