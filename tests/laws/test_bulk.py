"""Bulk is the same items one by one; all or nothing is the same where nothing fails, and nothing where one does."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from events.codec import decode_fact
from events.commands import CreditWallet, DebitWallet
from events.replies import Outcome, Reply
from events.sharding import shard_of
from services.ledger.batches.batch import Batch
from tests.fakes.asking import entry
from tests.laws.strategies import credits, debits
from tests.unit.ledger.deck import SHARDS, Deck, envelopes, replies

HOME = 1
CUSTOMERS = [name for number in range(99) if shard_of(name := f"cus_{number}", SHARDS) == HOME][:3]
STRANGER = CUSTOMERS.pop()


class Item(NamedTuple):
    """One movement with its key."""

    customer: str
    ask: CreditWallet | DebitWallet
    key: str


items = st.builds(
    Item,
    st.sampled_from([*CUSTOMERS, *CUSTOMERS, STRANGER]),
    st.one_of(credits, debits, debits),
    st.sampled_from([f"k{number}" for number in range(12)]),
)
records = st.lists(st.lists(items, min_size=1, max_size=8), min_size=1, max_size=5)


def opened() -> Deck:
    deck = Deck()
    for customer in CUSTOMERS:
        deck.known(customer, balance=9)
    return deck


def said(reply: Reply) -> dict[str, Any]:
    """All but whose answer it is."""
    return {name: value for name, value in asdict(reply).items() if name not in ("correlation", "entries")}


def recorded(batch: Batch) -> list[tuple[object, ...]]:
    """What was written, but for the names of the commands, and seals, which are random."""
    return [
        (
            e.type,
            e.subject,
            e.keyhash,
            e.requesthash,
            e.sequence,
            e.streamversion,
            _open(asdict(decode_fact(e))),
        )
        for e in envelopes(batch)
    ]


def _open(fact: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fact.items() if name not in ("sealed", "because_of")}


def in_bulk(deck: Deck, record: Sequence[Item], *, together: bool) -> Batch:
    return deck.play(deck.bulk(*[entry(*item) for item in record], together=together))


@given(records)
def test_bulk_is_the_same_items_one_by_one(story: list[list[Item]]) -> None:
    alone, many = opened(), opened()
    for record in story:
        singly = alone.play(*[alone.asked(item.customer, item.ask, key=item.key) for item in record])
        batch = in_bulk(many, record, together=False)
        [reply] = replies(batch)
        assert [said(one) for one in reply.entries] == [said(one) for one in replies(singly)]
        assert recorded(batch) == recorded(singly)
        assert batch.outcomes == singly.outcomes
    assert many.customers == alone.customers
    assert many.receipts.keys() == alone.receipts.keys()


@given(records)
def test_of_a_customers_entries_all_or_none_happen(story: list[list[Item]]) -> None:
    deck = opened()
    for record in story:
        before = {customer: deck.balance(customer) for customer in CUSTOMERS}
        [reply] = replies(in_bulk(deck, record, together=True))
        assert len(reply.entries) == len(record)
        groups: defaultdict[str, list[tuple[Item, Reply]]] = defaultdict(list)
        for item, one in zip(record, reply.entries, strict=True):
            groups[item.customer].append((item, one))
        for customer, group in groups.items():
            fresh = [one.outcome for _, one in group if not one.replayed]
            assert len({outcome is Outcome.APPLIED for outcome in fresh}) <= 1
            if customer in before and Outcome.APPLIED not in fresh:
                assert deck.balance(customer) == before[customer]
            if any(one.outcome is not Outcome.APPLIED for _, one in group):
                assert Outcome.APPLIED not in fresh


@given(st.lists(items, min_size=1, max_size=8, unique_by=lambda item: (item.customer, item.key)))
def test_all_or_nothing_changes_nothing_where_nothing_fails(record: list[Item]) -> None:
    alone, together = opened(), opened()
    [singly] = replies(in_bulk(alone, record, together=False))
    [reply] = replies(in_bulk(together, record, together=True))
    for customer in {item.customer for item in record}:
        its = [place for place, item in enumerate(record) if item.customer == customer]
        whole = all(singly.entries[place].outcome is Outcome.APPLIED for place in its)
        for place in its:
            assert (reply.entries[place].outcome is Outcome.APPLIED) == whole
            if whole:
                assert reply.entries[place].balance_after == singly.entries[place].balance_after
