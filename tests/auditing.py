"""What must hold of a ledger's memory, read back from the topic and the databases alone."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import psycopg
from psycopg.rows import TupleRow

from events.codec import decode_envelope, decode_fact, digest, genesis
from events.envelope import Envelope
from events.facts import AnyFact, CustomerRegistered, Movement, WalletCredited
from services.ledger.batches.receipts import row_of


class Told(NamedTuple):
    """One event as found in the topic."""

    envelope: Envelope
    fact: AnyFact
    value: bytes


def events_of(topic: Mapping[int, Iterable[bytes]]) -> dict[int, list[Told]]:
    """The topic's events, once each, in order; repeats must be the same bytes, and nothing may be missing."""
    found: dict[int, list[Told]] = {}
    for shard, values in topic.items():
        first: dict[int, bytes] = {}
        told = found[shard] = []
        for value in values:
            envelope = decode_envelope(value)
            sequence = int(envelope.sequence)
            if sequence in first:
                assert first[sequence] == value, f"other bytes at {envelope.id}"
                continue
            assert sequence == len(told) + 1, f"after {len(told)} comes {envelope.id}"
            assert envelope.shard == shard
            first[sequence] = value
            told.append(Told(envelope, decode_fact(envelope), value))
    return found


def check_chain(events: Mapping[int, list[Told]], store: psycopg.Connection[TupleRow]) -> None:
    """Hash by hash from the genesis to the head that the shard row names."""
    (ledger_id,) = store.execute("SELECT ledger_id FROM ledger").fetchone() or ("",)
    for shard, sequence, head in store.execute("SELECT shard, sequence, head FROM shards ORDER BY shard"):
        link = genesis(str(ledger_id), shard)
        told = events.get(shard, [])
        for one in told:
            assert one.envelope.previoushash == link.hex(), f"chain broken at {one.envelope.id}"
            link = digest(one.value)
        assert len(told) == sequence, f"shard {shard}: topic has {len(told)} events, the store {sequence}"
        assert head == link


def check_store(events: Mapping[int, list[Told]], store: psycopg.Connection[TupleRow]) -> None:
    """The store holds the topic's events, byte for byte, and the receipts that follow from them, and nothing else."""
    stored = store.execute(
        "SELECT shard, sequence, state FROM stored_events ORDER BY shard, sequence"
    ).fetchall()
    told = [(shard, n, one.value) for shard in sorted(events) for n, one in enumerate(events[shard], 1)]
    assert stored == told
    receipts = store.execute(
        "SELECT stream, origin, key_hash, request_hash, shard, sequence, command_id, command_position FROM receipts"
    ).fetchall()
    firsts: dict[object, tuple[object, ...]] = {}
    for shard in events:
        for one in events[shard]:
            row = row_of(one.envelope)
            firsts.setdefault(
                row[:3], tuple(row)
            )  # of the events of one command the first carries the receipt
    rebuilt = set(firsts.values())
    assert set(receipts) == rebuilt
    assert len(receipts) == len(rebuilt)


def balances_of(events: Mapping[int, list[Told]]) -> dict[tuple[str, str], int]:
    """Balance by customer and currency: movements must continue each other and never go below zero."""
    balances: dict[tuple[str, str], int] = defaultdict(int)
    versions: dict[str, int] = defaultdict(int)
    for shard in events:
        for envelope, fact, _ in events[shard]:
            versions[envelope.stream] += 1
            assert envelope.streamversion == versions[envelope.stream], f"stream broken at {envelope.id}"
            if isinstance(fact, Movement):
                wallet = (envelope.subject, fact.currency)
                assert fact.balance_before == balances[wallet], f"balance broken at {envelope.id}"
                balances[wallet] = fact.balance_after
                assert balances[wallet] >= 0
    return dict(balances)


def outcomes_of(events: Mapping[int, list[Told]]) -> dict[str, list[Told]]:
    """Events by hash of their idempotency key."""
    found: dict[str, list[Told]] = defaultdict(list)
    for shard in events:
        for one in events[shard]:
            found[one.envelope.keyhash].append(one)
    return found


def check_views(events: Mapping[int, list[Told]], views: psycopg.Connection[TupleRow]) -> None:
    """The read models are what the topic folds to, and the books balance."""
    balances = balances_of(events)
    wallets = views.execute("SELECT customer_id, currency, balance_minor FROM wallets").fetchall()
    assert {(customer, currency): balance for customer, currency, balance in wallets} == balances
    rows = views.execute(
        "SELECT shard, sequence, customer_id, entry_id, currency, is_credit, amount_minor, balance_before_minor, "
        "balance_after_minor FROM ledger_entries ORDER BY shard, sequence"
    ).fetchall()
    assert rows == [entry for shard in sorted(events) for one in events[shard] for entry in _entries(one)]
    customers = views.execute("SELECT customer_id FROM customers").fetchall()
    registered = [
        (one.envelope.subject,)
        for shard in events
        for one in events[shard]
        if isinstance(one.fact, CustomerRegistered)
    ]
    assert sorted(customers) == sorted(registered)
    heads = views.execute("SELECT shard, sequence, head FROM checkpoints WHERE sequence > 0 ORDER BY shard")
    assert heads.fetchall() == [
        (s, len(events[s]), digest(events[s][-1].value)) for s in sorted(events) if events[s]
    ]
    trial = views.execute(
        "SELECT currency, sum(balance_minor) FROM accounts GROUP BY business_id, mode, currency"
    )
    assert {total for _, total in trial.fetchall()} <= {0}
    held = views.execute(
        "SELECT coalesce(sum(balance_minor), 0) FROM accounts WHERE account = 'wallets'"
    ).fetchall()
    assert held == [(sum(balances.values()),)]


def _entries(one: Told) -> list[tuple[object, ...]]:
    envelope, fact, _ = one
    if not isinstance(fact, Movement):
        return []
    credited = isinstance(fact, WalletCredited)
    place = (envelope.shard, int(envelope.sequence), envelope.subject, fact.entry_id, fact.currency, credited)
    return [(*place, fact.amount, fact.balance_before, fact.balance_after)]
