"""What one customer's aggregate decides: the rules as a table, and what its facts do to it."""

import pytest
from msgspec import UNSET
from msgspec.structs import replace

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
from events.facts import (
    COUNTER_ACCOUNTS,
    Cause,
    CustomerBlocked,
    CustomerClosed,
    CustomerCommandRefused,
    CustomerErased,
    CustomerFact,
    CustomerProfileChanged,
    CustomerRegistered,
    CustomerUnblocked,
    Refusal,
    WalletCredited,
    WalletDebited,
    WalletDebitRefused,
)
from events.money import AMOUNT_MAX
from events.personal import Personal
from services.ledger.domain.customer import INITIAL, Customer, decide, evolve
from services.ledger.domain.given import Given
from tests.factories import fold, signed

GIVEN = Given(b"receipt", frozenset({"USD", "INR"}))
ENTRY = "wle_xB7zK2GeLiSBFbSJE720f"
BLOCK, OTHER_BLOCK = "blk_" + ENTRY.removeprefix("wle_"), "blk_" + "1" * 21
RECORDED = "2026-11-23T12:00:00.000000Z"
LATER = "2026-11-24T12:00:00.000000Z"

REGISTER = RegisterCustomer(name="Trần Thị B", email="b@example.com")
REGISTERED = CustomerRegistered(personal=Personal(name="Trần Thị B", email="b@example.com"))


def credit(amount: int, currency: str = "USD") -> CreditWallet:
    return CreditWallet(currency=currency, amount=amount)


def debit(amount: int, currency: str = "USD") -> DebitWallet:
    return DebitWallet(currency=currency, amount=amount)


def credited(amount: int, before: int = 0, currency: str = "USD") -> WalletCredited:
    return WalletCredited(
        entry_id=ENTRY,
        currency=currency,
        amount=amount,
        balance_before=before,
        balance_after=before + amount,
        cause=Cause.ADJUSTMENT,
        counter_account="merchant:adjustments",
        personal=Personal(),
    )


def debited(amount: int, before: int, currency: str = "USD") -> WalletDebited:
    return WalletDebited(
        entry_id=ENTRY,
        currency=currency,
        amount=amount,
        balance_before=before,
        balance_after=before - amount,
        cause=Cause.ADJUSTMENT,
        counter_account="merchant:adjustments",
        personal=Personal(),
    )


def refused(ask: CustomerAsk, refusal: Refusal) -> CustomerCommandRefused:
    if isinstance(ask, CreditWallet):
        return CustomerCommandRefused(
            command="wallet.credit.v1",
            refusal=refusal,
            currency=ask.currency,
            amount=ask.amount,
            personal=Personal(),
        )
    return CustomerCommandRefused(command=ask.TYPE, refusal=refusal, personal=Personal())


def debit_refused(
    amount: int, balance: int, refusal: Refusal = Refusal.INSUFFICIENT_WALLET_FUNDS, currency: str = "USD"
) -> WalletDebitRefused:
    return WalletDebitRefused(
        refusal=refusal,
        currency=currency,
        amount=amount,
        balance=balance,
        cause=Cause.ADJUSTMENT,
        personal=Personal(),
    )


def after(*facts: CustomerFact) -> Customer:
    return fold((fact, RECORDED) for fact in facts)


KNOWN = [REGISTERED]
FIVE: list[CustomerFact] = [REGISTERED, credited(5)]
FULL = [REGISTERED, credited(AMOUNT_MAX)]
SPENT = [REGISTERED, credited(5), debited(5, before=5)]
TRIED = [REGISTERED, credited(5), debit_refused(6, balance=5)]
CHANGE = ChangeProfile(name="C")
BLOCKED = [REGISTERED, credited(5), CustomerBlocked(block_id=OTHER_BLOCK)]
UNBLOCKED = [*BLOCKED, CustomerUnblocked(block_id=OTHER_BLOCK)]
STILL_BLOCKED = [*BLOCKED, CustomerUnblocked()]
CLOSED = [REGISTERED, CustomerClosed()]
ERASED = [*CLOSED, CustomerErased()]


def block(block_id: str = BLOCK, **more: str) -> CustomerBlocked:
    return CustomerBlocked(block_id=block_id, personal=Personal(), **more)


def unblocked(**more: str) -> CustomerUnblocked:
    return CustomerUnblocked(personal=Personal(), **more)


@pytest.mark.parametrize(
    ("given", "when", "then"),
    [
        # registering
        pytest.param([], REGISTER, REGISTERED, id="a new customer"),
        pytest.param(KNOWN, REGISTER, refused(REGISTER, Refusal.CUSTOMER_EXISTS), id="registered once"),
        pytest.param(
            [refused(CHANGE, Refusal.NOT_FOUND)], REGISTER, REGISTERED, id="refused before, registered now"
        ),
        # profile
        pytest.param([], CHANGE, refused(CHANGE, Refusal.NOT_FOUND), id="a stranger's profile"),
        pytest.param(
            KNOWN, CHANGE, CustomerProfileChanged(personal=Personal(name="C")), id="a changed profile"
        ),
        # credits
        pytest.param(KNOWN, credit(5), credited(5), id="first credit"),
        pytest.param(FIVE, credit(1), credited(1, before=5), id="second credit"),
        pytest.param(SPENT, credit(2), credited(2), id="credit after all was spent"),
        pytest.param(FIVE, credit(5, "INR"), credited(5, currency="INR"), id="credit of another currency"),
        pytest.param([], credit(5), refused(credit(5), Refusal.NOT_FOUND), id="a stranger's credit"),
        pytest.param(
            KNOWN,
            credit(5, "EUR"),
            refused(credit(5, "EUR"), Refusal.UNSUPPORTED_CURRENCY),
            id="credit of a currency that is not open",
        ),
        pytest.param(
            [],
            credit(5, "EUR"),
            refused(credit(5, "EUR"), Refusal.NOT_FOUND),
            id="the customer is asked for before the currency",
        ),
        pytest.param(KNOWN, credit(AMOUNT_MAX), credited(AMOUNT_MAX), id="as much as there may be"),
        pytest.param(
            [REGISTERED, credited(AMOUNT_MAX - 5)],
            credit(5),
            credited(5, before=AMOUNT_MAX - 5),
            id="to the limit",
        ),
        pytest.param(
            FULL, credit(1), refused(credit(1), Refusal.BALANCE_LIMIT_EXCEEDED), id="a cent over the limit"
        ),
        pytest.param(
            FIVE,
            credit(AMOUNT_MAX),
            refused(credit(AMOUNT_MAX), Refusal.BALANCE_LIMIT_EXCEEDED),
            id="overflow is refused, not wrapped",
        ),
        pytest.param(FULL, credit(1, "INR"), credited(1, currency="INR"), id="the limit is of one currency"),
        # debits
        pytest.param(FIVE, debit(5), debited(5, before=5), id="the last cent"),
        pytest.param(FIVE, debit(6), debit_refused(6, balance=5), id="a cent over"),
        pytest.param(FULL, debit(AMOUNT_MAX), debited(AMOUNT_MAX, before=AMOUNT_MAX), id="all there may be"),
        pytest.param(KNOWN, debit(1), debit_refused(1, balance=0), id="from nothing"),
        pytest.param(SPENT, debit(1), debit_refused(1, balance=0), id="spent once"),
        pytest.param(TRIED, debit(5), debited(5, before=5), id="a refusal took nothing"),
        pytest.param(FIVE, debit(5, "INR"), debit_refused(5, balance=0, currency="INR"), id="no exchange"),
        pytest.param(
            [],
            debit(5),
            debit_refused(5, balance=0, refusal=Refusal.NOT_FOUND),
            id="a stranger's debit",
        ),
        pytest.param(
            FIVE,
            debit(5, "EUR"),
            debit_refused(5, balance=0, refusal=Refusal.UNSUPPORTED_CURRENCY, currency="EUR"),
            id="debit of a currency that is not open",
        ),
        # blocking
        pytest.param(KNOWN, BlockCustomer(), block(), id="a block is named after its receipt"),
        pytest.param(
            BLOCKED,
            BlockCustomer(),
            block(OTHER_BLOCK, since=RECORDED),
            id="blocked twice is blocked since then",
        ),
        pytest.param(UNBLOCKED, BlockCustomer(), block(), id="blocked anew after it was ended"),
        pytest.param(
            [], BlockCustomer(), refused(BlockCustomer(), Refusal.NOT_FOUND), id="a stranger is not blocked"
        ),
        pytest.param(
            BLOCKED,
            debit(1),
            debit_refused(1, balance=5, refusal=Refusal.CUSTOMER_BLOCKED),
            id="no debit of one who is blocked",
        ),
        pytest.param(
            BLOCKED,
            debit(6, "EUR"),
            debit_refused(6, balance=0, refusal=Refusal.CUSTOMER_BLOCKED, currency="EUR"),
            id="the block is asked for before the currency",
        ),
        pytest.param(
            STILL_BLOCKED,
            debit(1),
            debit_refused(1, balance=5, refusal=Refusal.CUSTOMER_BLOCKED),
            id="what ended no block lets nothing out",
        ),
        pytest.param(BLOCKED, credit(1), credited(1, before=5), id="a blocked one may receive"),
        pytest.param(
            BLOCKED,
            CHANGE,
            CustomerProfileChanged(personal=Personal(name="C")),
            id="a blocked one may move house",
        ),
        pytest.param(UNBLOCKED, debit(5), debited(5, before=5), id="debits go on after the block"),
        # unblocking
        pytest.param(BLOCKED, UnblockCustomer(), unblocked(block_id=OTHER_BLOCK), id="a block is ended"),
        pytest.param(
            BLOCKED,
            UnblockCustomer(block_id=OTHER_BLOCK),
            unblocked(block_id=OTHER_BLOCK),
            id="this block is ended",
        ),
        pytest.param(
            BLOCKED,
            UnblockCustomer(block_id=BLOCK),
            unblocked(),
            id="an old block's end is not the new one's",
        ),
        pytest.param(UNBLOCKED, UnblockCustomer(), unblocked(), id="ended once"),
        pytest.param(
            UNBLOCKED,
            UnblockCustomer(block_id=OTHER_BLOCK),
            unblocked(),
            id="ended once, asked for by its name",
        ),
        pytest.param(KNOWN, UnblockCustomer(), unblocked(), id="there was no block to end"),
        pytest.param(
            [],
            UnblockCustomer(),
            refused(UnblockCustomer(), Refusal.NOT_FOUND),
            id="a stranger is not unblocked",
        ),
        # closing
        pytest.param(KNOWN, CloseCustomer(), CustomerClosed(personal=Personal()), id="closed with nothing"),
        pytest.param(
            SPENT, CloseCustomer(), CustomerClosed(personal=Personal()), id="closed when all was spent"
        ),
        pytest.param(
            FIVE, CloseCustomer(), refused(CloseCustomer(), Refusal.WALLET_NOT_EMPTY), id="money left behind"
        ),
        pytest.param(
            [*SPENT, credited(1, currency="INR")],
            CloseCustomer(),
            refused(CloseCustomer(), Refusal.WALLET_NOT_EMPTY),
            id="money left behind in another currency",
        ),
        pytest.param(
            [REGISTERED, CustomerBlocked(block_id=BLOCK)],
            CloseCustomer(),
            CustomerClosed(personal=Personal()),
            id="a blocked one may be closed",
        ),
        pytest.param(
            [], CloseCustomer(), refused(CloseCustomer(), Refusal.NOT_FOUND), id="a stranger is not closed"
        ),
        *(
            pytest.param(CLOSED, ask, refused(ask, Refusal.CUSTOMER_CLOSED), id=f"closed: {ask.TYPE}")
            for ask in (
                REGISTER,
                CHANGE,
                credit(1),
                BlockCustomer(),
                UnblockCustomer(),
                CloseCustomer(),
            )
        ),
        pytest.param(
            CLOSED,
            debit(1),
            debit_refused(1, balance=0, refusal=Refusal.CUSTOMER_CLOSED),
            id="closed: wallet.debit.v1",
        ),
        pytest.param(
            [REGISTERED, CustomerBlocked(block_id=BLOCK), CustomerClosed()],
            debit(1),
            debit_refused(1, balance=0, refusal=Refusal.CUSTOMER_CLOSED),
            id="closed is said before blocked",
        ),
        # erasing
        pytest.param(CLOSED, EraseCustomer(), CustomerErased(), id="erased once closed"),
        pytest.param(
            KNOWN, EraseCustomer(), refused(EraseCustomer(), Refusal.CUSTOMER_NOT_CLOSED), id="still there"
        ),
        pytest.param(
            SPENT, EraseCustomer(), refused(EraseCustomer(), Refusal.CUSTOMER_NOT_CLOSED), id="only empty"
        ),
        pytest.param([], EraseCustomer(), refused(EraseCustomer(), Refusal.NOT_FOUND), id="not a stranger"),
        pytest.param(
            ERASED, EraseCustomer(), refused(EraseCustomer(), Refusal.CUSTOMER_ERASED), id="erased once"
        ),
        pytest.param(ERASED, REGISTER, refused(REGISTER, Refusal.CUSTOMER_CLOSED), id="erased: no way back"),
        pytest.param(ERASED, CHANGE, refused(CHANGE, Refusal.CUSTOMER_CLOSED), id="erased: no new name"),
    ],
)
def test_what_follows_from_a_command(
    given: list[CustomerFact], when: CustomerAsk, then: CustomerFact
) -> None:
    assert decide(when, after(*given), GIVEN) == [then]


@pytest.mark.parametrize(
    ("when", "personal", "locale"),
    [
        pytest.param(ChangeProfile(), Personal(), UNSET, id="nothing said, nothing changed"),
        pytest.param(
            ChangeProfile(name="", email=""), Personal(name="", email=""), UNSET, id="empty texts are values"
        ),
        pytest.param(
            ChangeProfile(phone_number=None), Personal(phone_number=None), UNSET, id="null clears the phone"
        ),
        pytest.param(
            ChangeProfile(phone_number="+84 1"), Personal(phone_number="+84 1"), UNSET, id="a new phone"
        ),
        pytest.param(ChangeProfile(metadata={}), Personal(metadata={}), UNSET, id="metadata emptied"),
        pytest.param(ChangeProfile(preferred_locale="vi"), Personal(), "vi", id="the locale is not personal"),
        pytest.param(ChangeProfile(preferred_locale=None), Personal(), None, id="null clears the locale"),
    ],
)
def test_a_profile_field_is_absent_null_or_a_value(
    when: ChangeProfile, personal: Personal, locale: object
) -> None:
    [fact] = decide(when, after(REGISTERED), GIVEN)
    assert isinstance(fact, CustomerProfileChanged)
    assert (fact.personal, fact.preferred_locale) == (personal, locale)


def test_all_that_is_personal_is_kept_apart_to_be_sealed() -> None:
    ask = RegisterCustomer(name="n", email="e", phone_number="p", metadata={"k": "v"}, preferred_locale="en")
    assert decide(ask, INITIAL, GIVEN) == [
        CustomerRegistered(
            personal=Personal(name="n", email="e", phone_number="p", metadata={"k": "v"}),
            preferred_locale="en",
        )
    ]


@pytest.mark.parametrize("kind", [CreditWallet, DebitWallet])
@pytest.mark.parametrize("balance", [0, 9])
def test_reason_and_reference_stay_with_the_movement_and_with_its_refusal(
    kind: type[CreditWallet] | type[DebitWallet], balance: int
) -> None:
    history = [REGISTERED, credited(balance)] if balance else [REGISTERED]
    ask = kind(currency="USD", amount=9, cause=Cause.REFUND, reason="why", reference="pay_1")
    [fact] = decide(ask, after(*history), GIVEN)
    assert isinstance(fact, WalletCredited | WalletDebited | WalletDebitRefused)
    assert (fact.personal, fact.reference, fact.cause) == (Personal(reason="why"), "pay_1", Cause.REFUND)


@pytest.mark.parametrize(
    "ask", [BlockCustomer(reason="why"), UnblockCustomer(reason="why"), CloseCustomer(reason="why")]
)
@pytest.mark.parametrize("history", [KNOWN, CLOSED])
def test_the_reason_of_a_change_of_status_is_kept_to_be_sealed(
    ask: CustomerAsk, history: list[CustomerFact]
) -> None:
    [fact] = decide(ask, after(*history), GIVEN)
    assert fact.personal == Personal(reason="why")


def test_the_address_that_somebody_was_blocked_by_is_kept_to_be_sealed() -> None:
    [fact] = decide(BlockCustomer(identifier="b@example.com"), after(REGISTERED), GIVEN)
    assert fact.personal == Personal(identifier="b@example.com")


@pytest.mark.parametrize("cause", Cause)
def test_each_cause_has_its_counter_account(cause: Cause) -> None:
    [fact] = decide(CreditWallet(currency="USD", amount=1, cause=cause), after(REGISTERED), GIVEN)
    assert isinstance(fact, WalletCredited)
    assert fact.counter_account == COUNTER_ACCOUNTS[cause] != ""


def test_evolve_counts_every_fact_and_remembers_when_the_customer_was_registered() -> None:
    customer = evolve(INITIAL, REGISTERED, RECORDED)
    assert customer == Customer(registered=RECORDED, balances={}, version=1)
    for fact in (
        CustomerProfileChanged(),
        refused(REGISTER, Refusal.CUSTOMER_EXISTS),
        debit_refused(1, balance=0),
    ):
        customer = evolve(customer, fact, LATER)
    assert customer == Customer(registered=RECORDED, balances={}, version=4)
    customer = evolve(customer, credited(7), LATER)
    customer = evolve(customer, credited(3, currency="INR"), LATER)
    customer = evolve(customer, debited(2, before=7), LATER)
    assert customer == Customer(registered=RECORDED, balances={"USD": 5, "INR": 3}, version=7)


def test_evolve_follows_the_status() -> None:
    customer = evolve(after(*FIVE), block(), LATER)
    known = Customer(registered=RECORDED, balances={"USD": 5}, version=2)
    assert customer == replace(known, version=3, blocked=LATER, block_id=BLOCK)
    assert evolve(customer, block(since=LATER), RECORDED) == replace(customer, version=4)
    assert evolve(customer, unblocked(), RECORDED) == replace(customer, version=4)
    customer = evolve(customer, unblocked(block_id=BLOCK), RECORDED)
    assert customer == replace(known, version=4)
    customer = evolve(customer, CustomerClosed(), LATER)
    assert customer == replace(known, version=5, closed=LATER)
    assert evolve(customer, CustomerErased(), RECORDED) == replace(customer, version=6, erased=RECORDED)


def test_evolve_judges_nothing() -> None:
    """History is true even where no decision of today would make it: a debit that was too high is folded."""
    impossible = debited(5, before=5)
    assert evolve(INITIAL, impossible, RECORDED).balance("USD") == 0
    assert evolve(after(REGISTERED), REGISTERED, LATER).registered == LATER


@pytest.mark.parametrize(
    ("fact", "effect"),
    [
        (credited(5), 5),
        (debited(5, before=5), -5),
        (debit_refused(5, balance=0), 0),
        (refused(credit(5), Refusal.NOT_FOUND), 0),
        (REGISTERED, 0),
        (CustomerProfileChanged(), 0),
        (CustomerClosed(), 0),
        (CustomerErased(), 0),
    ],
)
def test_the_sign_of_a_fact(fact: CustomerFact, effect: int) -> None:
    assert signed(fact) == effect
