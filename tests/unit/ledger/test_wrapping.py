"""What an event says around its fact, to the last field, and how large it may be."""

import pytest
from msgspec import UNSET, UnsetType

from events.codec import timestamp
from events.commands import AnyAsk, Origin
from events.envelope import Envelope
from events.sharding import shard_of
from services.ledger.batches import wrapping
from tests.fakes.asking import REGISTER, credit, debit
from tests.unit.ledger.deck import NOW, SHARDS, Deck, envelopes, outcomes
from tests.unit.ledger.telling import dispute, payment, purchase, refund

A, SHARD = "cus_a", shard_of("cus_a", SHARDS)


@pytest.mark.parametrize(("key", "attempt"), [("k", UNSET), (None, 2)])
def test_an_event_says_all_that_is_known_of_its_command(key: str | None, attempt: int | UnsetType) -> None:
    """The attempt only where there is no key: there it tells a retry."""
    deck = Deck()
    deck.known(A)
    head, asked = deck.rows[SHARD].head, deck.asked(A, credit(5), key=key, attempt=2)
    batch = deck.play(asked)
    [event] = envelopes(batch)
    assert event == Envelope(
        id=f"{SHARD}:2",
        source=f"/shards/{SHARD}",
        type="wallet.credited.v1",
        subject=A,
        time=timestamp(NOW),
        effectivetime=timestamp(NOW),
        sequence=f"{2:020}",
        previoushash=head.hex(),
        stream="customer-cus_a",
        streamversion=2,
        businessid="biz_1",
        mode="live",
        origin=Origin.API,
        actor="key_1",
        causationid="cmd_2",
        correlationid="cor_2",
        keyhash=asked.key.key_hash.hex(),
        requesthash=batch.hashed(asked),
        commandid="cmd_2",
        commandposition=1,
        attempt=attempt,
        data=event.data,
    )


def test_an_event_stands_in_the_stream_of_what_it_is_about() -> None:
    deck = Deck()
    found = envelopes(deck.play(deck.asked(A, payment())))
    assert [event.stream for event in found] == ["customer-cus_a", "payment-pay_1", "customer-cus_a"]


def test_an_event_may_be_as_large_as_the_limit_and_no_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    deck = Deck()
    size = len(deck.play(deck.asked(A, REGISTER)).events[0].value)
    for limit, outcome in ((size, "applied"), (size - 1, "failed")):
        monkeypatch.setattr(wrapping, "EVENT_BYTES_MAX", limit)
        deck = Deck()
        batch = deck.play(deck.asked(A, REGISTER))
        assert outcomes(batch) == [outcome]
    assert [letter.message for letter in batch.dead_letters] == ["Malformed"]


@pytest.mark.parametrize(
    ("asks", "effect"),
    [
        pytest.param([payment()], ("top_up", "moved"), id="credited"),
        pytest.param([payment(currency="EUR")], ("top_up", "currency_not_open"), id="withheld"),
        pytest.param([payment(), debit(60), dispute()], ("dispute", "short"), id="lacking"),
        pytest.param([purchase(), refund(to_wallet=True)], ("refund_to_wallet", "moved"), id="a refund"),
    ],
)
def test_what_followed_for_the_wallet_is_counted_by_its_outcome(
    asks: list[AnyAsk], effect: tuple[str, str]
) -> None:
    deck = Deck()
    for ask in asks:
        batch = deck.play(deck.asked(A, ask))
    assert batch.effects == {effect: 1}
