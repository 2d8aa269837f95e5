"""One batch: commands decided one after the other, each concerning itself alone."""

import pytest
from msgspec import UNSET
from msgspec.structs import replace
from structlog.typing import EventDict

from events.codec import decode_fact, genesis, timestamp
from events.commands import CloseCustomer, EraseCustomer, Origin
from events.facts import CustomerFact, WalletCredited
from events.ids import Tenant
from events.personal import Personal
from events.replies import Outcome
from events.sealing import Unsealable, unseal
from events.sharding import shard_of
from services.ledger.batches import admission, receipts, wrapping
from services.ledger.batches import batch as module
from services.ledger.domain.customer import Customer, decide
from services.ledger.domain.given import Given
from tests.fakes.asking import REGISTER, REPLIES_PARTITION, correlation, credit, debit, stream_of
from tests.unit.ledger.deck import NOW, SHARDS, Deck, envelopes, linked, outcomes, replies

A, SHARD = "cus_a", shard_of("cus_a", SHARDS)
NEIGHBOUR = next(name for n in range(99) if shard_of(name := f"cus_n{n}", SHARDS) == SHARD)
STRANGER = next(name for n in range(99) if shard_of(name := f"cus_s{n}", SHARDS) != SHARD)


@pytest.fixture
def deck() -> Deck:
    return Deck()


def test_each_command_sees_what_those_before_it_did(deck: Deck) -> None:
    batch = deck.play(
        deck.asked(A, REGISTER), deck.asked(A, credit(5)), deck.asked(A, debit(5)), deck.asked(A, debit(1))
    )
    assert outcomes(batch) == ["applied", "applied", "applied", "refused"]
    assert deck.balance(A) == 0


def test_events_are_numbered_and_chained_by_shard_and_by_stream(deck: Deck) -> None:
    heads = {shard: genesis("deck", shard) for shard in range(SHARDS)}
    one = deck.play(*(deck.asked(name, REGISTER) for name in (A, NEIGHBOUR, STRANGER, A)))
    two = deck.play(deck.asked(A, credit(1)), deck.asked(STRANGER, credit(1)))
    assert linked(one, heads)
    assert linked(two, heads)
    found = [(e.subject, e.sequence[-1], e.streamversion) for e in envelopes(one) + envelopes(two)]
    assert found == [
        (A, "1", 1), (NEIGHBOUR, "2", 1), (STRANGER, "1", 1), (A, "3", 2), (A, "4", 3), (STRANGER, "2", 2),
    ]  # fmt: skip
    assert deck.rows[SHARD].sequence == 4
    assert deck.rows[SHARD].head == heads[SHARD]


def test_time_never_goes_back_within_a_shard(deck: Deck) -> None:
    deck.known(A)
    deck.now -= 5_000_000
    batch = deck.play(deck.asked(A, credit(1)))
    assert envelopes(batch)[0].time == timestamp(NOW)
    assert deck.rows[SHARD].last_time == NOW


def test_the_callers_time_is_kept_beside_ours(deck: Deck) -> None:
    deck.known(A)
    asked = deck.asked(A, credit(1))
    earlier = "2020-02-29T00:00:00.000000Z"
    [event] = envelopes(deck.play(asked._replace(command=replace(asked.command, effectivetime=earlier))))
    assert (event.time, event.effectivetime) == (timestamp(NOW), earlier)


def test_every_event_carries_the_receipt_it_stands_for(deck: Deck) -> None:
    batch = deck.play(
        deck.asked(A, REGISTER, key="k"), deck.asked(A, credit(5)), deck.asked(A, debit(9), key="k2")
    )
    assert [receipts.row_of(event) for event in envelopes(batch)] == batch.commit().receipts
    assert len(batch.commit().receipts) == 3


def test_the_position_follows_the_last_command_whatever_became_of_it(deck: Deck) -> None:
    batch = deck.batch()
    batch.take(deck.asked(A, REGISTER))
    late = deck.asked(A, credit(1), deadline=NOW)
    found = admission.read(late.record, SHARDS, NOW + 1, available=True)
    assert isinstance(found, admission.Declined)
    batch.reject(found.otherwise)
    row = batch.commit().after[0]
    assert (row.position, row.position_command_id, row.sequence) == (1, "cmd_2", 1)


def test_only_touched_shards_are_fenced_in_order_with_their_committed_rows(deck: Deck) -> None:
    before = dict(deck.rows)
    batch = deck.batch()
    for name in sorted([A, STRANGER], key=lambda name: -shard_of(name, SHARDS)):
        batch.take(deck.asked(name, REGISTER))
    commit = batch.commit()
    shards = sorted({SHARD, shard_of(STRANGER, SHARDS)})
    assert [row.shard for row in commit.after] == shards
    assert list(commit.before) == [before[shard] for shard in shards]


# --- answers ---


def test_answers_go_where_they_were_asked_for(deck: Deck) -> None:
    silent = deck.asked(A, credit(1))
    silent = silent._replace(command=replace(silent.command, replyto=UNSET))
    batch = deck.play(deck.asked(A, REGISTER), silent)
    [answer] = batch.answers
    assert answer.to == f"{REPLIES_PARTITION}/{correlation(2)}"
    assert answer.reply.correlation == correlation(2)
    assert batch.taken == 2


def test_an_applied_movement_says_everything_an_asker_needs(deck: Deck) -> None:
    deck.known(A, balance=5)
    registered = timestamp(deck.now)
    deck.now += 1_000_000
    [reply] = replies(deck.play(deck.asked(A, debit(2))))
    [stored] = [r for r in deck.receipts.values() if r.sequence == 3]
    assert (reply.position, reply.time, reply.registered) == (f"{SHARD}:3", timestamp(deck.now), registered)
    assert (reply.currency, reply.amount, reply.balance_before, reply.balance_after) == ("USD", 2, 5, 3)
    assert reply.entry_id.encode() in stored.event


def test_a_refused_debit_says_what_there_is(deck: Deck) -> None:
    deck.known(A, balance=5)
    [reply] = replies(deck.play(deck.asked(A, debit(6))))
    assert (reply.outcome, reply.code) == (Outcome.REFUSED, "INSUFFICIENT_WALLET_FUNDS")
    assert (reply.balance_before, reply.balance_after, reply.position) == (5, UNSET, f"{SHARD}:3")


# --- tenants ---


@pytest.mark.parametrize("other", [Tenant("biz_2", "live"), Tenant("biz_1", "test")])
def test_another_tenants_customer_does_not_exist(deck: Deck, other: Tenant) -> None:
    deck.known(A, balance=5)
    batch = deck.play(deck.asked(A, debit(1), tenant=other), deck.asked(A, credit(1), tenant=other))
    assert [reply.code for reply in replies(batch)] == ["NOT_FOUND", "NOT_FOUND"]
    assert deck.balance(A) == 5


def test_a_key_means_nothing_to_another_tenant_or_origin(deck: Deck) -> None:
    other = Tenant("biz_2", "live")
    deck.play(deck.asked(A, REGISTER, key="k"))
    batch = deck.play(
        deck.asked(A, REGISTER, key="k", tenant=other),
        deck.asked(A, credit(5), key="k", origin=Origin.INTAKE),
    )
    assert outcomes(batch) == ["applied", "applied"]


# --- sealing ---


def test_personal_data_and_the_key_as_sent_are_sealed_with_the_customers_key(deck: Deck) -> None:
    asked = deck.asked(A, REGISTER, key="my key")
    [event] = envelopes(deck.play(asked))
    fact = decode_fact(event)
    for clear in ("Phạm", "example.com", "my key"):
        assert clear.encode() not in deck.receipts[asked.key].event
    opened = unseal(fact, deck.keys[asked.key.stream], event.stream, event.id)
    assert opened.personal == Personal(name=REGISTER.name, email=REGISTER.email, idempotency_key="my key")
    with pytest.raises(Unsealable):
        unseal(fact, deck.keys[asked.key.stream], event.stream, "0:999")


def test_nothing_personal_of_a_stranger_is_kept(deck: Deck) -> None:
    """There is no key to erase it by."""
    [event] = envelopes(deck.play(deck.asked(A, replace(credit(5), reason="who I am"), key="my key")))
    fact = decode_fact(event)
    assert (fact.personal, fact.sealed) == (UNSET, UNSET)


def test_a_registered_customer_without_a_key_takes_no_more_commands(deck: Deck) -> None:
    """The key table is older than the store: storing in clear, or under a new key, would be worse."""
    deck.known(A, balance=5)
    del deck.keys[stream_of(A)]
    batch = deck.play(deck.asked(A, debit(1)))
    assert outcomes(batch) == ["failed"]
    assert batch.events == []
    assert [letter.message for letter in batch.dead_letters] == ["NoDataKey"]


def test_of_an_erased_customer_nothing_personal_is_kept_any_more(deck: Deck) -> None:
    """Not even while his key is still in memory: to whoever reads the event it is gone."""
    deck.play(deck.asked(A, REGISTER), deck.asked(A, CloseCustomer(reason="moved away")))
    key = deck.keys[stream_of(A)]
    erased = deck.play(deck.asked(A, EraseCustomer(), key="my key"))
    deck.keys[stream_of(A)] = key
    tried = deck.play(deck.asked(A, CloseCustomer(reason="who I was"), key="another"))
    assert outcomes(erased) == ["applied"]
    assert [reply.code for reply in replies(tried)] == ["CUSTOMER_CLOSED"]
    for batch in (erased, tried):
        [event] = envelopes(batch)
        assert (decode_fact(event).personal, decode_fact(event).sealed) == (UNSET, UNSET)


def test_an_erasure_needs_no_key_that_may_be_gone_already(deck: Deck) -> None:
    deck.play(deck.asked(A, REGISTER), deck.asked(A, CloseCustomer()))
    del deck.keys[stream_of(A)]
    assert outcomes(deck.play(deck.asked(A, EraseCustomer()))) == ["applied"]


def test_who_has_lost_his_key_can_still_be_closed_and_erased(deck: Deck) -> None:
    deck.known(A)
    del deck.keys[stream_of(A)]
    asked = [deck.asked(A, ask) for ask in (EraseCustomer(), CloseCustomer(reason="why"), EraseCustomer())]
    batch = deck.play(*asked)
    assert outcomes(batch) == ["refused", "applied", "applied"]
    assert {(fact.personal, fact.sealed) for fact in map(decode_fact, envelopes(batch))} == {(UNSET, UNSET)}


def test_a_callers_retry_of_an_erasure_has_its_own_receipt(deck: Deck) -> None:
    """Read again from the beginning of the log it has no deadline: without a receipt it would be new, and erase."""
    deck.known(A)
    first, again = deck.asked(A, EraseCustomer()), deck.asked(A, EraseCustomer(), attempt=1)
    deck.play(first, again)
    deck.play(deck.asked(A, CloseCustomer()))
    deck.attempts.clear()  # they are kept for minutes
    reread = deck.play(first, again)
    assert [reply.code for reply in replies(reread)] == ["CUSTOMER_NOT_CLOSED"] * 2
    assert reread.events == []


def test_whose_key_was_destroyed_is_not_registered_anew_without_one(deck: Deck) -> None:
    """The store forgot them, the key table did not: an old backup of the store."""
    asked = deck.asked(A, REGISTER)
    del deck.keys[asked.key.stream]
    batch = deck.play(asked)
    assert (outcomes(batch), batch.events) == (["failed"], [])


# --- our own mistakes ---


def test_a_decision_that_fails_takes_only_itself_away(deck: Deck, monkeypatch: pytest.MonkeyPatch) -> None:
    deck.known(A)

    def poisoned(ask: object, customer: Customer, given: Given) -> list[CustomerFact]:
        if ask == credit(13):
            raise ZeroDivisionError
        return decide(ask, customer, given)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "decide", poisoned)
    one, poison, two = (deck.asked(A, ask, key=f"{ask.amount}") for ask in (credit(1), credit(13), credit(2)))
    batch = deck.play(one, poison, two)
    assert outcomes(batch) == ["applied", "failed", "applied"]
    assert [letter.offset for letter in batch.dead_letters] == [poison.record.offset]
    assert batch.dead_letters[0].value == poison.record.value
    assert poison.key not in deck.receipts
    assert deck.balance(A) == 3
    assert [event.sequence[-1] for event in envelopes(batch)] == ["2", "3"]
    assert deck.rows[SHARD].position == two.record.offset


def test_a_decision_that_fails_is_passed_over(
    deck: Deck, monkeypatch: pytest.MonkeyPatch, logs: list[EventDict]
) -> None:
    """Else the partition would meet it again for ever."""
    monkeypatch.setattr(module, "decide", lambda *_: 1 / 0)
    poison = deck.asked(A, REGISTER)
    batch = deck.play(poison)
    row = deck.rows[SHARD]
    assert (row.position, row.position_command_id, row.sequence) == (poison.record.offset, "cmd_1", 0)
    assert outcomes(batch) == ["failed"]
    [line] = logs
    told = (line["event"], line["command_id"], line["correlation_id"])
    assert told == ("command_failed", "cmd_1", poison.command.correlationid), (
        "what the caller quotes leads here"
    )


def test_half_a_decision_leaves_nothing(deck: Deck, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second fact of a decision cannot be encoded: the first one must not stand alone."""
    deck.known(A)
    before = deck.rows[SHARD]

    def two(ask: object, customer: Customer, given: Given) -> list[object]:
        [fact] = decide(ask, customer, given)  # type: ignore[arg-type]
        return [fact, object()]

    monkeypatch.setattr(module, "decide", two)
    batch = deck.play(deck.asked(A, credit(5)))
    assert outcomes(batch) == ["failed"]
    assert (batch.events, batch.commit().receipts, batch.states) == ([], [], {})
    assert (deck.rows[SHARD].sequence, deck.rows[SHARD].head) == (before.sequence, before.head)


def test_an_event_that_is_too_large_is_not_stored(deck: Deck, monkeypatch: pytest.MonkeyPatch) -> None:
    deck.known(A)
    monkeypatch.setattr(wrapping, "EVENT_BYTES_MAX", 1_000)
    batch = deck.play(deck.asked(A, replace(credit(1), reason="x" * 900)), deck.asked(A, credit(2)))
    assert outcomes(batch) == ["failed", "applied"]
    assert deck.balance(A) == 2


def test_facts_are_stored_as_the_codec_reads_them(deck: Deck) -> None:
    deck.known(A)
    [event] = envelopes(deck.play(deck.asked(A, credit(5))))
    fact = decode_fact(event)
    assert isinstance(fact, WalletCredited)
    assert (fact.amount, fact.balance_after) == (5, 5)
