"""What may be asked in laws: few customers and small amounts, so that refusals, repeats and limits happen often."""

from typing import TypeVar

from hypothesis import strategies as st

from events.commands import (
    BlockCustomer,
    ChangeProfile,
    CloseCustomer,
    CreditWallet,
    CustomerAsk,
    DebitWallet,
    EraseCustomer,
    RegisterCustomer,
    UnblockCustomer,
)
from events.facts import Cause
from events.money import AMOUNT_MAX

T = TypeVar("T")


def mixed(*strategies: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """One of them; what stands here twice comes twice as often. To `one_of` it would be there once."""

    @st.composite
    def one_of_them(draw: st.DrawFn) -> T:
        return draw(draw(st.sampled_from(strategies)))

    return one_of_them()


amounts = st.one_of(st.integers(1, 9), st.sampled_from([AMOUNT_MAX - 1, AMOUNT_MAX]))
currencies = st.sampled_from(["USD", "USD", "INR", "EUR"])
_movement = {"currency": currencies, "amount": amounts, "cause": st.sampled_from(Cause)}

credits = st.builds(CreditWallet, **_movement)
debits = st.builds(DebitWallet, **_movement)
registrations = st.just(
    RegisterCustomer(name="Lê Văn C", email="c@example.com", metadata={"plan": "ngựa 🐎"})
)
changes = st.sampled_from([ChangeProfile(name="D"), ChangeProfile(phone_number=None), ChangeProfile()])

statuses: st.SearchStrategy[CustomerAsk] = st.sampled_from(
    [
        BlockCustomer(reason="🐍"),
        UnblockCustomer(),
        UnblockCustomer(),
        UnblockCustomer(block_id="blk_" + "z" * 21),
    ]
)
closings: st.SearchStrategy[CustomerAsk] = st.sampled_from([CloseCustomer(reason="bye"), EraseCustomer()])

asks: st.SearchStrategy[CustomerAsk] = mixed(
    credits, credits, credits, debits, debits, debits, changes, statuses, registrations, statuses | closings
)
