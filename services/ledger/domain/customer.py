"""One customer's aggregate: who he is to us, and what each of his wallets holds."""

from collections.abc import Mapping
from typing import TypeVar, assert_never

from msgspec import UNSET, Struct
from msgspec.structs import replace

from events.commands import (
    BlockCustomer,
    ChangeProfile,
    CloseCustomer,
    CreditWallet,
    CustomerAsk,
    DebitWallet,
    EraseCustomer,
    MoveMoney,
    RegisterCustomer,
    UnblockCustomer,
)
from events.facts import (
    COUNTER_ACCOUNTS,
    CustomerBlocked,
    CustomerClosed,
    CustomerCommandRefused,
    CustomerErased,
    CustomerFact,
    CustomerProfileChanged,
    CustomerRegistered,
    CustomerUnblocked,
    Movement,
    Refusal,
    WalletCredited,
    WalletDebited,
    WalletDebitRefused,
    WalletShortfallRecorded,
    WalletShortfallReleased,
)
from events.money import AMOUNT_MAX
from events.personal import Personal
from events.recorded import UpstreamRecorded
from events.requested import TopUpRequested
from services.ledger.domain.given import Given

M = TypeVar("M", bound=Movement)


class Customer(Struct, frozen=True, array_like=True, tag=0):
    """Decision state: no personal data. Each of `registered`, `blocked`, `closed`, `erased` is since when, or "".

    `named`: time and print of upstream's word on who he is; "" once that was ours.
    """

    registered: str = ""
    balances: Mapping[str, int] = {}
    version: int = 0
    blocked: str = ""
    block_id: str = ""
    closed: str = ""
    named: str = ""
    erased: str = ""

    def balance(self, currency: str) -> int:
        """Minor units; a wallet exists from the start, at zero."""
        return self.balances.get(currency, 0)


INITIAL = Customer()


def decide(ask: CustomerAsk, customer: Customer, given: Given) -> list[CustomerFact]:
    """What follows from a command. Business refusals are facts too."""
    match ask:
        case RegisterCustomer():
            return [_register(ask, customer)]
        case ChangeProfile():
            return [_change_profile(ask, customer)]
        case BlockCustomer():
            return [_block(ask, customer, given)]
        case UnblockCustomer():
            return [_unblock(ask, customer)]
        case CloseCustomer():
            return [_close(ask, customer)]
        case EraseCustomer():
            return [_erase(ask, customer)]
        case CreditWallet():
            return [_credit(ask, customer, given)]
        case DebitWallet():
            return [_debit(ask, customer, given)]
        case _:
            assert_never(ask)


def evolve(customer: Customer, fact: CustomerFact, recorded: str) -> Customer:
    """Total: history is folded, never judged. `recorded` is the event's time."""
    seen = replace(customer, version=customer.version + 1)
    match fact:
        case CustomerRegistered():
            return replace(seen, registered=recorded, named=_named(fact))
        case CustomerProfileChanged():
            return replace(seen, named=_named(fact))
        case WalletCredited() | WalletDebited():
            return replace(seen, balances={**seen.balances, fact.currency: fact.balance_after})
        case CustomerBlocked():
            return replace(seen, blocked=fact.since or recorded, block_id=fact.block_id)
        case CustomerUnblocked():
            return seen if fact.block_id is UNSET else replace(seen, blocked="", block_id="")
        case CustomerClosed():
            return replace(seen, closed=recorded)
        case CustomerErased():
            return replace(seen, erased=recorded)
        case CustomerCommandRefused() | WalletDebitRefused():
            return seen
        case WalletShortfallRecorded() | WalletShortfallReleased() | UpstreamRecorded() | TopUpRequested():
            return seen
        case _:
            assert_never(fact)


def _named(fact: CustomerRegistered | CustomerProfileChanged) -> str:
    return "" if fact.as_told is UNSET else f"{fact.as_told.time} {fact.as_told.print}"


def _register(ask: RegisterCustomer, customer: Customer) -> CustomerFact:
    if customer.registered:
        return refused(ask, gone(customer) or Refusal.CUSTOMER_EXISTS)
    personal = Personal(name=ask.name, email=ask.email, phone_number=ask.phone_number, metadata=ask.metadata)
    return CustomerRegistered(personal=personal, preferred_locale=ask.preferred_locale)


def _change_profile(ask: ChangeProfile, customer: Customer) -> CustomerFact:
    if (refusal := gone(customer)) is not None:
        return refused(ask, refusal)
    personal = Personal(name=ask.name, email=ask.email, phone_number=ask.phone_number, metadata=ask.metadata)
    return CustomerProfileChanged(personal=personal, preferred_locale=ask.preferred_locale)


def _block(ask: BlockCustomer, customer: Customer, given: Given) -> CustomerFact:
    """Who is blocked stays so: the fact says since when."""
    if (refusal := gone(customer)) is not None:
        return refused(ask, refusal)
    personal = Personal(reason=ask.reason, identifier=ask.identifier)
    if customer.blocked:
        return CustomerBlocked(block_id=customer.block_id, since=customer.blocked, personal=personal)
    return CustomerBlocked(block_id=given.block_id, personal=personal)


def _unblock(ask: UnblockCustomer, customer: Customer) -> CustomerFact:
    """An old block that was ended long ago must not end a new one."""
    if (refusal := gone(customer)) is not None:
        return refused(ask, refusal)
    ended = customer.block_id if customer.blocked and ask.block_id in (UNSET, customer.block_id) else UNSET
    return CustomerUnblocked(block_id=ended, personal=Personal(reason=ask.reason))


def _close(ask: CloseCustomer, customer: Customer) -> CustomerFact:
    refusal = gone(customer)
    if refusal is None and any(customer.balances.values()):
        refusal = Refusal.WALLET_NOT_EMPTY
    if refusal is not None:
        return refused(ask, refusal)
    return CustomerClosed(personal=Personal(reason=ask.reason))


def _erase(ask: EraseCustomer, customer: Customer) -> CustomerFact:
    """Only whom nothing is done for any more: closed is for good, so what allows it cannot cease to be true."""
    if not customer.registered:
        return refused(ask, Refusal.NOT_FOUND)
    if not customer.closed:
        return refused(ask, Refusal.CUSTOMER_NOT_CLOSED)
    return refused(ask, Refusal.CUSTOMER_ERASED) if customer.erased else CustomerErased()


def gone(customer: Customer) -> Refusal | None:
    """Nothing is done for a customer who never was or is no more."""
    if not customer.registered:
        return Refusal.NOT_FOUND
    return Refusal.CUSTOMER_CLOSED if customer.closed else None


def _credit(ask: CreditWallet, customer: Customer, given: Given) -> CustomerFact:
    refusal = gone(customer) or _not_open(ask, given)
    if refusal is None and customer.balance(ask.currency) > AMOUNT_MAX - ask.amount:
        refusal = Refusal.BALANCE_LIMIT_EXCEEDED
    if refusal is not None:
        return refused(ask, refusal)
    return _moved(WalletCredited, ask, customer, given, +ask.amount)


def _debit(ask: DebitWallet, customer: Customer, given: Given) -> CustomerFact:
    refusal = gone(customer)
    if refusal is None and customer.blocked:
        refusal = Refusal.CUSTOMER_BLOCKED
    refusal = refusal or _not_open(ask, given)
    if refusal is None and customer.balance(ask.currency) < ask.amount:
        refusal = Refusal.INSUFFICIENT_WALLET_FUNDS
    if refusal is not None:
        return refused_debit(ask, customer, refusal)
    return _moved(WalletDebited, ask, customer, given, -ask.amount)


def refused_debit(ask: DebitWallet, customer: Customer, refusal: Refusal) -> WalletDebitRefused:
    """With the balance that there was."""
    return WalletDebitRefused(
        refusal=refusal,
        currency=ask.currency,
        amount=ask.amount,
        balance=customer.balance(ask.currency),
        cause=ask.cause,
        reference=ask.reference,
        personal=_reason(ask),
    )


def _not_open(ask: MoveMoney, given: Given) -> Refusal | None:
    return None if ask.currency in given.currencies else Refusal.UNSUPPORTED_CURRENCY


def _moved(fact: type[M], ask: MoveMoney, customer: Customer, given: Given, signed_amount: int) -> M:
    before = customer.balance(ask.currency)
    return fact(
        entry_id=given.entry_id,
        currency=ask.currency,
        amount=ask.amount,
        balance_before=before,
        balance_after=before + signed_amount,
        cause=ask.cause,
        counter_account=COUNTER_ACCOUNTS[ask.cause],
        reference=ask.reference,
        personal=_reason(ask),
    )


def refused(ask: CustomerAsk, refusal: Refusal) -> CustomerCommandRefused:
    """Of anything but a debit."""
    if isinstance(ask, MoveMoney):
        return CustomerCommandRefused(
            command=ask.TYPE, refusal=refusal, currency=ask.currency, amount=ask.amount, personal=_reason(ask)
        )
    reason = ask.reason if isinstance(ask, BlockCustomer | UnblockCustomer | CloseCustomer) else UNSET
    return CustomerCommandRefused(command=ask.TYPE, refusal=refusal, personal=Personal(reason=reason))


def _reason(ask: MoveMoney) -> Personal:
    return Personal(reason=ask.reason)
