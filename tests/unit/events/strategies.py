"""Hypothesis strategies for everything that travels, derived from the structs themselves."""

from hypothesis import strategies as st

from events.codec import timestamp
from events.commands import (
    BlockCustomer,
    ChangeProfile,
    CloseCustomer,
    Command,
    CreditWallet,
    CustomerAsk,
    DebitWallet,
    RegisterCustomer,
    UnblockCustomer,
)
from events.facts import (
    Cause,
    CustomerBlocked,
    CustomerClosed,
    CustomerCommandRefused,
    CustomerFact,
    CustomerProfileChanged,
    CustomerRegistered,
    CustomerUnblocked,
    Refusal,
    WalletCredited,
    WalletDebited,
    WalletDebitRefused,
)
from events.ids import derived
from events.money import AMOUNT_MAX
from events.personal import Personal

texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=60)
amounts = st.integers(1, AMOUNT_MAX)
balances = st.integers(0, AMOUNT_MAX)
currencies = st.sampled_from(["USD", "INR", "JPY"])
causes = st.sampled_from(Cause)
refusals = st.sampled_from(Refusal)
references = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128)
locales = st.sampled_from(["en", "vi-VN", "ar", "zh-Hans-CN"])
names_of_pairs = st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True)
whole_numbers = st.integers(-AMOUNT_MAX, AMOUNT_MAX)
fractions = st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer())
metadata = st.dictionaries(
    names_of_pairs, st.one_of(texts, whole_numbers, fractions, st.booleans()), max_size=5
)
identifiers = st.from_regex(r"[A-Za-z0-9_.:-]{1,40}", fullmatch=True)
customer_ids = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)


def _absent_or(**fields: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    """Any of the fields may be absent."""
    return st.fixed_dictionaries({}, optional=fields)


personal = _absent_or(
    name=texts,
    email=texts,
    phone_number=st.one_of(st.none(), texts),
    metadata=metadata,
    reason=texts,
    identifier=texts,
    idempotency_key=texts.filter(bool),
).map(lambda fields: Personal(**fields))

block_ids = st.integers().map(lambda number: derived("blk_", str(number)))
moments = st.integers(0, 4_000_000_000_000_000).map(timestamp)

_movement = st.fixed_dictionaries(
    {
        "entry_id": st.integers().map(lambda number: derived("wle_", str(number))),
        "currency": currencies,
        "amount": amounts,
        "balance_before": balances,
        "balance_after": balances,
        "cause": causes,
        "counter_account": texts,
    },
    optional={"reference": references},
)
_refused = st.fixed_dictionaries(
    {"refusal": refusals, "currency": currencies, "amount": amounts, "balance": balances, "cause": causes},
    optional={"reference": references},
)
_command_refused = st.fixed_dictionaries(
    {"command": texts, "refusal": refusals}, optional={"currency": currencies, "amount": amounts}
)

facts: st.SearchStrategy[CustomerFact] = st.one_of(
    _absent_or(preferred_locale=locales).map(lambda fields: CustomerRegistered(**fields)),
    _absent_or(preferred_locale=st.one_of(st.none(), locales)).map(lambda f: CustomerProfileChanged(**f)),
    st.fixed_dictionaries({"block_id": block_ids}, optional={"since": moments}).map(
        lambda fields: CustomerBlocked(**fields)
    ),
    _absent_or(block_id=block_ids).map(lambda fields: CustomerUnblocked(**fields)),
    st.just(CustomerClosed()),
    _movement.map(lambda fields: WalletCredited(**fields)),
    _movement.map(lambda fields: WalletDebited(**fields)),
    _refused.map(lambda fields: WalletDebitRefused(**fields)),
    _command_refused.map(lambda fields: CustomerCommandRefused(**fields)),
)

_profile = {"phone_number": texts, "metadata": metadata, "preferred_locale": locales}
_money = st.fixed_dictionaries(
    {"currency": currencies, "amount": amounts},
    optional={"cause": causes, "reason": texts, "reference": references},
)
asks: st.SearchStrategy[CustomerAsk] = st.one_of(
    st.fixed_dictionaries({"name": texts, "email": texts}, optional=_profile).map(
        lambda f: RegisterCustomer(**f)
    ),
    _absent_or(name=texts, email=texts, **_profile).map(lambda fields: ChangeProfile(**fields)),
    _absent_or(reason=texts, identifier=texts).map(lambda fields: BlockCustomer(**fields)),
    _absent_or(reason=texts, block_id=block_ids).map(lambda fields: UnblockCustomer(**fields)),
    _absent_or(reason=texts).map(lambda fields: CloseCustomer(**fields)),
    _money.map(lambda fields: CreditWallet(**fields)),
    _money.map(lambda fields: DebitWallet(**fields)),
)

command_attributes = st.fixed_dictionaries(
    {
        "id": identifiers,
        "source": texts.filter(bool),
        "subject": customer_ids,
        "businessid": identifiers,
        "mode": st.sampled_from(["live", "test"]),
        "origin": st.sampled_from(["api", "intake", "portal", "system"]),
        "actor": identifiers,
        "correlationid": identifiers,
        "attempt": st.integers(0, 100),
    },
    optional={"idempotencykey": texts.filter(bool), "replyto": st.just("3/" + "ab" * 8)},
)

__all__ = ["Command", "asks", "command_attributes", "customer_ids", "facts", "personal"]
