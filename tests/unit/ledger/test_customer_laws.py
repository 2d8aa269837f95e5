"""Laws of one customer's aggregate, with a second reading of the facts that shares no code with the first."""

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from events.commands import BlockCustomer, CreditWallet, CustomerAsk, RegisterCustomer
from events.facts import (
    COUNTER_ACCOUNTS,
    AnyFact,
    CustomerBlocked,
    CustomerClosed,
    CustomerErased,
    CustomerFact,
    CustomerUnblocked,
    Movement,
    WalletCredited,
    WalletDebited,
)
from events.money import AMOUNT_MAX
from services.ledger.domain.customer import INITIAL, Customer, decide, evolve
from services.ledger.domain.given import Given
from services.ledger.domain.states import State, evolve_any, initial
from tests.factories import fold, signed
from tests.laws.strategies import asks, debits, statuses
from tests.unit.events.strategies import facts

GIVEN = Given(b"receipt", frozenset({"USD", "INR"}))
RECORDED = "2026-11-23T12:00:00.000000Z"
REGISTER = RegisterCustomer(name="n", email="e")
BLOCKED: list[CustomerAsk] = [REGISTER, CreditWallet(currency="USD", amount=20), BlockCustomer()]
after_a_block = st.lists(st.one_of(debits, debits, statuses), min_size=1, max_size=8).map(
    lambda asked: [*BLOCKED, *asked]
)
"""Left to chance, a debit that only the block forbids is rare."""


conversations = st.lists(asks, max_size=30).flatmap(
    lambda asked: st.sampled_from([asked, [REGISTER, *asked], [REGISTER, *asked]])
)


def history_of(asked: Sequence[CustomerAsk]) -> list[CustomerFact]:
    history: list[CustomerFact] = []
    customer = INITIAL
    for ask in asked:
        new = decide(ask, customer, GIVEN)
        customer = fold(((fact, RECORDED) for fact in new), customer)
        history += new
    return history


def live(history: list[CustomerFact]) -> Customer:
    return fold((fact, RECORDED) for fact in history)


def statement(history: list[CustomerFact]) -> Counter[str]:
    """Balances as an accountant adds them up: by the name of the fact and its amount, nothing else."""
    sums: Counter[str] = Counter()
    for fact in history:
        match fact:
            case WalletCredited(currency=currency, amount=amount):
                sums[currency] += amount
            case WalletDebited(currency=currency, amount=amount):
                sums[currency] -= amount
    return sums


@given(conversations)
def test_no_balance_is_ever_below_zero_or_above_the_limit(asked: list[CustomerAsk]) -> None:
    history = history_of(asked)
    for length in range(len(history) + 1):
        assert all(0 <= balance <= AMOUNT_MAX for balance in live(history[:length]).balances.values())


@given(conversations)
def test_entries_sum_to_balances(asked: list[CustomerAsk]) -> None:
    history = history_of(asked)
    sums = statement(history)
    for currency in ("USD", "INR", "EUR"):
        assert live(history).balance(currency) == sums[currency]
        assert sum(signed(f) for f in history if getattr(f, "currency", "") == currency) == sums[currency]


@given(conversations)
def test_each_entry_begins_where_the_last_one_of_its_currency_ended(asked: list[CustomerAsk]) -> None:
    balances: Counter[str] = Counter()
    for fact in history_of(asked):
        if isinstance(fact, Movement):
            assert fact.balance_before == balances[fact.currency]
            assert fact.balance_after == fact.balance_before + signed(fact)
            balances[fact.currency] = fact.balance_after


@given(conversations)
def test_the_trial_balance_is_zero_in_each_currency(asked: list[CustomerAsk]) -> None:
    """Double entry: what the wallets hold, the counter accounts gave; by cause, as the chart of accounts says."""
    history = history_of(asked)
    accounts: Counter[tuple[str, str]] = Counter()
    for fact in history:
        if isinstance(fact, Movement):
            assert fact.counter_account == COUNTER_ACCOUNTS[fact.cause]
            accounts[fact.currency, fact.counter_account] -= signed(fact)
    wallets = live(history).balances
    for currency in ("USD", "INR", "EUR"):
        others = sum(sum_ for (its, _), sum_ in accounts.items() if its == currency)
        assert wallets.get(currency, 0) + others == 0


@given(conversations, asks)
def test_a_refusal_changes_nothing_but_the_version(asked: list[CustomerAsk], ask: CustomerAsk) -> None:
    before = live(history_of(asked))
    [fact] = decide(ask, before, GIVEN)
    after = evolve(before, fact, RECORDED)
    assert after.version == before.version + 1
    if hasattr(fact, "refusal"):
        assert after == replace(before, version=after.version)


@given(st.one_of(after_a_block, conversations))
def test_nothing_leaves_a_blocked_customer_and_nothing_happens_to_a_closed_one(
    asked: list[CustomerAsk],
) -> None:
    """Read as a clerk would: who came last, the block or its end? To a closed one only this: that he is erased, once."""
    block, closed, erased = "", False, False
    balances: Counter[str] = Counter()
    for fact in history_of(asked):
        assert not closed or hasattr(fact, "refusal") or isinstance(fact, CustomerErased)
        match fact:
            case CustomerBlocked(block_id=block_id):
                assert block in ("", block_id)
                assert bool(block) == bool(fact.since)
                block = block_id
            case CustomerUnblocked(block_id=block_id) if block_id:
                assert block == block_id
                block = ""
            case WalletCredited() | WalletDebited():
                assert not (block and isinstance(fact, WalletDebited))
                balances[fact.currency] = fact.balance_after
            case CustomerClosed():
                closed = True
                assert not any(balances.values())
            case CustomerErased():
                assert closed
                assert not erased
                erased = True


@given(conversations)
def test_a_stranger_has_nothing(asked: list[CustomerAsk]) -> None:
    """Whatever is asked before the registration is refused, and leaves no money behind."""
    strangers = [ask for ask in asked if not isinstance(ask, RegisterCustomer)]
    history = history_of(strangers)
    assert all(hasattr(fact, "refusal") for fact in history)
    assert live(history).balances == {}


@given(st.lists(facts, max_size=20))
def test_evolve_is_total(history: list[AnyFact]) -> None:
    """Any facts in any order fold: what happened is never judged again."""
    states: dict[str, State] = {}
    for fact in history:
        state = states.get(fact.CATEGORY, initial(fact.CATEGORY))
        states[fact.CATEGORY] = evolve_any(state, fact, RECORDED, RECORDED)
    assert sum(state.version for state in states.values()) == len(history)


@given(conversations)
def test_deciding_again_decides_the_same(asked: list[CustomerAsk]) -> None:
    assert history_of(asked) == history_of(asked)
