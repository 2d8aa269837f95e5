"""Records that nobody should have written, for the topics that others write."""

import json
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer

DEEP = 100_000
RECORD_BYTES_MAX = 1024 * 1024 - 200
"""Less the record's own head."""

TEN_MEGABYTES = 10 * 1024 * 1024


def no_json() -> dict[str, bytes | None]:
    """Bytes that are no document at all."""
    return {
        "null value": None,
        "nothing": b"",
        "truncated": b'{"type":"payment.succeeded","data":{"payment_id":"pay_1"',
        "two in one": b"{}{}",
        "not UTF-8": b'{"type":"\xff\xfe"}',
        "binary": bytes(range(256)) * 100,
        "a list": b"[1,2,3]",
        "null": b"null",
        "a number without end": b"9" * 100_000,
        "deep lists": b"[" * DEEP,
        "deep objects": b'{"data":' * DEEP,
        "as much as Kafka takes": b"x" * RECORD_BYTES_MAX,
        "a lone surrogate": b'{"type":"\\ud800","data":{}}',
    }


def wrong(good: dict[str, Any]) -> dict[str, bytes]:
    """Documents like a good one of upstream, each with one thing wrong that it cannot be understood without."""
    data = good["data"]

    def changed(**changes: Any) -> bytes:
        return json.dumps(good | changes).encode()

    def within(**changes: Any) -> bytes:
        return changed(data=data | changes)

    return {
        "wrong schema": changed(type="subscription.active", data={"customer": data["customer"]}),
        "no type": changed(type=None),
        "type is a list": changed(type=["payment.succeeded"]),
        "data is a text": changed(data="x"),
        "no business": changed(business_id=None),
        "business is a number": changed(business_id=5),
        "mode of tomorrow": changed(mode="staging"),
        "no such day": changed(timestamp="2026-02-30T00:00:00Z"),
        "no such year": changed(timestamp="0000-01-01T00:00:00Z"),
        "time is a number": changed(timestamp=1_790_000_000),
        "customer with a path": within(customer={"customer_id": "../../x"}),
        "no id": within(payment_id=None),
        "an id without end": within(payment_id="p" * 10_000),
        "amount is a text": within(total_amount="5"),
        "amount beyond exact": within(total_amount=2**53),
        "amount beyond 64 bits": within(total_amount=2**70),
        "amount is a fraction": within(total_amount=5.5),
        "amount is below zero": within(total_amount=-1),
        "currency in small letters": within(currency="usd"),
        "no currency": within(currency=None),
        "larger than an object may be": within(note="x" * 200_000),
    }


async def write(bootstrap: str, topic: str, values: list[bytes | None], partition: int = 0) -> None:
    """As somebody would who may write there. Raises what the broker says."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=2 * TEN_MEGABYTES)
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(topic, value, key=b"\xff hostile", partition=partition)
    finally:
        await producer.stop()


def encoded(event: dict[str, Any]) -> bytes:
    return msgspec.json.encode(event)
