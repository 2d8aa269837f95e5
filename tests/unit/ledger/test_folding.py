"""A state from a snapshot and what came after it is the state that the whole stream folds to."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import defstruct

from events.codec import decode_envelope, digest
from events.commands import CustomerAsk
from services.ledger.batches import folding as module
from services.ledger.batches import snapshots
from services.ledger.batches.folding import Folding
from services.ledger.batches.snapshots import Snapshot
from services.ledger.domain.customer import Customer
from services.ledger.domain.states import State
from tests.factories import customer_fact, fold
from tests.fakes.asking import REGISTER, credit, stream_of
from tests.laws.strategies import asks
from tests.unit.ledger.deck import Deck

A, B, STRANGER = "cus_a", "cus_b", "cus_c"
Streams = Mapping[UUID, Sequence[bytes]]

histories = st.lists(st.tuples(st.sampled_from([A, B]), asks), max_size=30)


def streams_of(asked: Sequence[tuple[str, CustomerAsk]]) -> Streams:
    """What decided commands leave in the store."""
    deck = Deck()
    found: dict[UUID, list[bytes]] = {stream_of(name): [] for name in (A, B, STRANGER)}
    for event in deck.play(*(deck.asked(name, ask) for name, ask in [(A, REGISTER), *asked])).events:
        found[event.stream].append(event.value)
    return found


def long_stream(count: int) -> Streams:
    return streams_of([(A, credit(number + 1)) for number in range(count - 1)])


def folded(values: Sequence[bytes]) -> Customer:
    envelopes = [decode_envelope(value) for value in values]
    return fold((customer_fact(envelope), envelope.time) for envelope in envelopes)


def taken(values: Sequence[bytes], version: int, name: str = A) -> Snapshot:
    """The snapshot that was kept after so many events."""
    return snapshots.snapshot(stream_of(name), folded(values[:version]), digest(values[version - 1]))


def run(streams: Streams, found: Mapping[UUID, Snapshot], limit: int = 10**6) -> tuple[Folding, int]:
    """As the worker does it; and how many events the store was asked for."""
    folding, read = Folding(streams, found), 0
    while wanted := folding.wanted():
        rows = [
            (stream, version, value)
            for stream, start in wanted.items()
            for version, value in enumerate(streams[stream], start=1)
            if version >= start
        ][:limit]
        for row in rows:
            folding.take(*row)
        folding.end_run(whole=len(rows) < limit)
        read += len(rows)
        assert read < 1_000
    return folding, read


@given(histories, st.integers(1, 30), st.integers(1, 30), st.integers(1, 40))
def test_snapshot_and_tail_are_the_whole_stream(
    asked: list[tuple[str, CustomerAsk]], one: int, other: int, limit: int
) -> None:
    streams = streams_of(asked)
    found = {
        stream_of(name): taken(streams[stream_of(name)], version, name)
        for name, version in ((A, one), (B, other))
        if version <= len(streams[stream_of(name)])
    }
    folding, read = run(streams, found, limit)
    assert folding.states == {stream: folded(values) for stream, values in streams.items()}
    assert folding.ignored == 0
    assert read == sum(map(len, streams.values())) - sum(row.version - 1 for row in found.values())


def spoiled(good: Snapshot) -> list[Snapshot]:
    """What a disk, an older or newer version, a restore or a stranger may leave."""
    state = good.state
    flipped = [state[:at] + bytes([state[at] ^ 1]) + state[at + 1 :] for at in range(len(state))]
    return [
        *(good._replace(state=other) for other in flipped),
        *(good._replace(state=state[:length]) for length in range(len(state))),
        good._replace(state=state + b"\x00"),
        good._replace(version=good.version - 1),
        good._replace(version=10**18),
        good._replace(head=bytes(32)),
        snapshots.snapshot(stream_of(B), folded([]), good.head)._replace(stream=good.stream),
    ]


def test_a_snapshot_that_is_not_right_in_every_bit_is_ignored_and_the_stream_folded() -> None:
    streams = long_stream(12)
    good = taken(streams[stream_of(A)], 9)
    for bad in spoiled(good):
        folding, read = run(streams, {good.stream: bad})
        assert folding.states[good.stream] == folded(streams[good.stream])
        assert (folding.ignored, read >= 12) == (1, True)


def test_a_snapshot_of_another_form_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = long_stream(12)
    good = taken(streams[stream_of(A)], 9)
    monkeypatch.setattr(snapshots, "FOLD", snapshots.FOLD + 1)
    monkeypatch.setattr(snapshots, "_MARK", snapshots._mark(State))
    assert snapshots.read(good) is None
    assert run(streams, {good.stream: good})[1] == 12


def test_the_form_of_what_lies_in_a_state_is_part_of_its_form() -> None:
    """A field with a default, too: an old state would be read as if it had that."""
    before = defstruct("Outer", [("inner", Mapping[str, defstruct("Inner", [("a", int)])])])  # type: ignore[misc]
    after = defstruct("Outer", [("inner", Mapping[str, defstruct("Inner", [("a", int), ("b", int, 0)])])])  # type: ignore[misc]
    assert snapshots._mark(before) != snapshots._mark(after)


def test_a_snapshot_that_is_whole_and_no_state_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = long_stream(12)
    with monkeypatch.context() as other:
        other.setattr(snapshots, "pack", lambda _: msgspec.msgpack.encode(["no", "state"]))
        bad = taken(streams[stream_of(A)], 9)
    folding, _ = run(streams, {bad.stream: bad})
    assert (folding.states[bad.stream], folding.ignored) == (folded(streams[bad.stream]), 1)


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_a_snapshot_of_a_history_that_the_store_does_not_hold_is_ignored(limit: int) -> None:
    """The store was restored, or its stream is shorter than the snapshot: what counts is what it holds now."""
    streams, [other] = long_stream(12), [streams_of([(A, credit(7))] * 20)[stream_of(A)]]
    for foreign in (taken(other, 5), taken(other, 12), taken(other, 15)):
        folding, _ = run(streams, {foreign.stream: foreign}, limit)
        assert folding.states[foreign.stream] == folded(streams[foreign.stream])
        assert folding.ignored == 1


def test_long_tails_are_worth_a_snapshot_that_the_next_folding_can_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SNAPSHOT_EVERY", 5)
    streams = long_stream(12)
    first, _ = run(streams, {})
    [kept] = first.worth_keeping()
    assert kept == taken(streams[stream_of(A)], 12)
    second, read = run(streams, {kept.stream: kept})
    assert (read, second.worth_keeping()) == (1, [])


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_a_history_with_a_hole_or_of_tomorrow_is_never_folded_and_stops_no_other(limit: int) -> None:
    whole = streams_of([(A, credit(1)), (B, REGISTER), (A, credit(2)), (B, credit(3)), (A, credit(4))])
    a, b = stream_of(A), stream_of(B)
    unknown = [*whole[a][:2], whole[a][2].replace(b"wallet.credited.v1", b"wallet.credited.v9"), whole[a][3]]
    folding, _ = run({**whole, a: unknown}, {}, limit)
    assert folding.broken.keys() == {a}
    assert (folding.states[b], a in folding.states) == (folded(whole[b]), False)
    folding = Folding(whole, {})
    for stream, version in ((a, 1), (a, 3), (b, 1), (a, 4)):
        folding.take(stream, version, whole[stream][version - 1])
    assert folding.broken.keys() == {a}
    assert (folding.states[b], a in folding.states) == (folded(whole[b][:1]), False)


def test_what_old_events_mean_has_not_changed_without_a_new_fold() -> None:
    """Snapshots of earlier versions of this code are used as long as `FOLD` says so: raise it if this differs."""
    asked = [(A, credit(5)), (A, credit(7, "INR")), (A, credit(3, "EUR")), (A, credit(1))]
    state = folded(streams_of(asked)[stream_of(A)])
    assert snapshots.FOLD == 2
    assert state == Customer(
        registered="2026-09-21T14:13:20.000000Z", balances={"USD": 6, "INR": 7}, version=5
    )
