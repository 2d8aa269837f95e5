"""`events tail` checks what it reads, and says it as people do."""

import json

import pytest

from services.console.tail import BrokenChain, Chain, Seen, Tail, Wanted, amount, line
from services.settings import Settings
from tests.factories import EventFactory, Record


@pytest.fixture
def records() -> list[Record]:
    """Six events of one shard."""
    factory = EventFactory(shards=1)
    factory.registered("cus_1")
    factory.credited("cus_1", 12_500, "USD")
    factory.debited("cus_1", 4_999, "USD")
    factory.debit_refused("cus_1", 999_999, "USD")
    factory.credited("cus_1", 500, "INR")
    factory.registered("cus_2", name="Lê Thị Ánh")
    return factory.records


def take(chain: Chain, records: list[Record]) -> list[Seen]:
    return [seen for record in records if (seen := chain.take(record.value)) is not None]


def test_repeats_are_skipped_and_counted(records: list[Record]) -> None:
    chain = Chain(0)
    seen = take(chain, records[:4] + records[2:4] + records[4:])
    assert [int(one.envelope.sequence) for one in seen] == [1, 2, 3, 4, 5, 6]
    assert (chain.first, chain.last, chain.repeated) == (1, 6, 2)


def test_reading_may_begin_in_the_middle(records: list[Record]) -> None:
    chain = Chain(0)
    assert len(take(chain, records[3:])) == 3
    assert chain.first == 4


def test_a_gap_is_seen(records: list[Record]) -> None:
    with pytest.raises(BrokenChain, match="2 is followed by 4"):
        take(Chain(0), records[:2] + records[3:])


def test_a_changed_event_is_seen_at_its_successor(records: list[Record]) -> None:
    whole = json.loads(records[1].value)
    whole["data"]["amount"] += 1
    changed = records[1]._replace(value=json.dumps(whole, separators=(",", ":")).encode())
    with pytest.raises(BrokenChain, match="breaks at 0:3"):
        take(Chain(0), [records[0], changed, *records[2:]])


def test_what_is_no_event_is_seen(records: list[Record]) -> None:
    with pytest.raises(BrokenChain, match="after sequence 2"):
        take(Chain(0), [*records[:2], records[0]._replace(value=b"\xff")])


def test_an_event_of_another_shard_is_seen(records: list[Record]) -> None:
    with pytest.raises(BrokenChain, match="shard 3 holds an event of shard 0"):
        Chain(3).take(records[0].value)


def test_lines_are_for_people(records: list[Record]) -> None:
    lines = [line(seen) for seen in take(Chain(0), records)]
    assert "0:1  customer.registered" in lines[0]
    assert "+$125.00  balance $125.00" in lines[1]
    assert "-$49.99  balance $75.01" in lines[2]
    assert "$9,999.99 refused (INSUFFICIENT_WALLET_FUNDS)  balance $75.01" in lines[3]
    assert "+₹5.00  balance ₹5.00" in lines[4]
    assert "Ánh" not in "".join(lines), "personal data stays sealed"


def test_the_summary_says_from_where(records: list[Record]) -> None:
    tail = Tail(Settings(), Wanted(), {0: Chain(0), 1: Chain(1)})
    take(tail.chains[0], records)
    assert tail.summary().startswith("6 events in 1 shard, from the first event on")
    tail.chains[0] = Chain(0)
    take(tail.chains[0], records[2:])
    assert "from the first event read on" in tail.summary()


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (1, "USD", "$0.01"),
        (123_456, "INR", "₹1,234.56"),
        (500, "JPY", "¥500"),
        (1_234, "KWD", "KWD1.234"),
        (2**53 - 1, "USD", "$90,071,992,547,409.91"),
    ],
)
def test_amounts_are_exact(minor: int, currency: str, shown: str) -> None:
    assert amount(minor, currency) == shown
