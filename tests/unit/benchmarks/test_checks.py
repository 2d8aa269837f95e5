"""The benchmark's own judge must see what it is there for."""

import asyncio

import pytest

from benchmarks import checks
from benchmarks.checks import Topic
from benchmarks.generator import Client, Load, Requests
from benchmarks.load import Plan, is_overdraft, key_of
from services.standalone.process import StandaloneError
from tests.factories import EventFactory


def _read(values: list[bytes]) -> Topic:
    topic = Topic(shards=32)
    for value in values:
        topic.take(value)
    return topic


def _events() -> list[bytes]:
    factory = EventFactory(shards=1)
    factory.registered("cus_a")
    factory.credited("cus_a", 500)
    factory.debited("cus_a", 200)
    return [record.value for record in factory.records]


def test_a_topic_that_is_right_adds_up() -> None:
    topic = _read(_events())
    assert (topic.events, topic.gaps, topic.broken_links, topic.wrong_sums, topic.negative) == (3, 0, 0, 0, 0)
    assert list(topic.balances.values()) == [300]


def test_a_repeated_record_is_no_second_event() -> None:
    events = _events()
    topic = _read([*events, events[1]])
    assert (topic.events, topic.repeats) == (3, 1)


def test_a_lost_event_is_a_gap_and_a_broken_link_and_a_wrong_sum() -> None:
    first, _, third = _events()
    topic = _read([first, third])
    assert (topic.gaps, topic.broken_links, topic.wrong_sums, topic.negative) == (1, 1, 1, 1)


def test_a_changed_event_breaks_the_chain() -> None:
    first, second, third = _events()
    assert _read([first, second.replace(b'"amount":500', b'"amount":501'), third]).broken_links == 1


def test_an_acknowledgement_is_looked_up_by_key_and_position() -> None:
    topic = Topic(shards=1)
    keys = {number: checks.hashed(key_of("run", number)) for number in range(4)}
    topic.by_key = {keys[0]: ["0:1"], keys[1]: ["0:2", "0:3"], keys[2]: ["0:4"]}
    answers = [(0, "0:1"), (1, "0:2"), (2, "0:9"), (3, "0:5")]
    found = checks.acknowledged(topic, [("run", answers)])
    assert (found["once"], found["doubled"], found["other_position"], found["missing"]) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    "name", ["missing", "doubled", "other_position", "overdrafts_accepted", "negative_balances"]
)
def test_a_ledger_that_is_wrong_fails_the_run(name: str) -> None:
    checks.verdict(
        {"answers_200": 7, "once": 7, "repeats": 1, "events_in_topic": 9, "events_in_store": 9, name: 0}
    )
    with pytest.raises(StandaloneError):
        checks.verdict({"answers_200": 7, "once": 6, name: 1})


def test_topic_and_store_that_differ_fail_the_run() -> None:
    with pytest.raises(StandaloneError):
        checks.verdict({"events_in_topic": 8, "events_in_store": 9})


def _plan() -> Plan:
    return Plan(
        ports=[1], api_key="wl_test_x", clients=1, warmup_seconds=0, seconds=60, method="POST",
        path="/customers/{customer}/wallets/ledger-entries", customers=["cus_a"], run="ab", respond_async=True,
    )  # fmt: skip


def test_every_request_has_its_own_key_and_a_true_length() -> None:
    make = Requests(_plan()).make
    for number in (0, 255, 1024):
        head, _, body = make(number).partition(b"\r\n\r\n")
        assert f"idempotency-key: {key_of('ab', number)}\r\n".encode() in head
        assert head.endswith(b"content-length: %d" % len(body))
        assert (b"900000000000" in body) == is_overdraft(number)


class _Transport(asyncio.Transport):
    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))


async def test_an_answer_in_pieces_is_one_answer() -> None:
    load = Load(_plan())
    client, transport = Client(load), _Transport()
    client.connection_made(transport)
    answer = (
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nledger-position: 3:14\r\nledger-applied: false\r\n\r\n{}"
    )
    for end in range(len(answer)):
        client.data_received(answer[end : end + 1])
        assert len(transport.written) == (2 if end == len(answer) - 1 else 1)
    assert load.acknowledged == [(0, b"3:14")]
    assert (load.answers, load.stale) == ({b"200": 1}, 1)
