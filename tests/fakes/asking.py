"""Commands as an api process would put them on `ledger.commands`."""

from uuid import UUID

from msgspec import UNSET, UnsetType

from events.codec import encode_ask, encode_command, timestamp
from events.commands import (
    AnyAsk,
    BulkEntry,
    Command,
    CreditWallet,
    DebitWallet,
    EnterInBulk,
    Origin,
    RegisterCustomer,
)
from events.ids import Tenant, stream_id, stream_name

TENANT = Tenant("biz_1", "live")
REPLIES_PARTITION = 3

REGISTER = RegisterCustomer(name="Phạm Thị D 🐎", email="d@example.com")


def credit(amount: int, currency: str = "USD") -> CreditWallet:
    return CreditWallet(currency=currency, amount=amount)


def debit(amount: int, currency: str = "USD") -> DebitWallet:
    return DebitWallet(currency=currency, amount=amount)


def entry(customer: str, ask: CreditWallet | DebitWallet, key: str) -> BulkEntry:
    """The same movement as a part of a bulk record."""
    return BulkEntry(
        customer_id=customer,
        entry_type="credit" if isinstance(ask, CreditWallet) else "debit",
        currency=ask.currency,
        amount=ask.amount,
        idempotency_key=key,
        cause=ask.cause,
        reason=ask.reason,
        reference=ask.reference,
    )


def bulk(*entries: BulkEntry, together: bool = False) -> EnterInBulk:
    return EnterInBulk(entries=list(entries), all_or_nothing=together)


def command(
    number: int,
    customer: str,
    ask: AnyAsk | EnterInBulk,
    *,
    key: str | None = None,
    attempt: int = 0,
    deadline: int | None = None,
    origin: Origin = Origin.API,
    tenant: Tenant = TENANT,
    identity: str = "",
    effective: str = "",
) -> bytes:
    """`number` makes id and correlation; `deadline` in microseconds since 1970."""
    return encode_command(
        Command(
            id=identity or f"cmd_{number}",
            source="/api",
            type=ask.TYPE,
            subject=customer,
            businessid=tenant.business_id,
            mode=tenant.mode,  # type: ignore[arg-type]
            origin=origin,
            actor="key_1",
            correlationid=f"cor_{number}",
            idempotencykey=_or_unset(key),
            attempt=attempt,
            effectivetime=effective or UNSET,
            deadline=UNSET if deadline is None else timestamp(deadline),
            replyto=f"{REPLIES_PARTITION}/{correlation(number)}",
            data=encode_ask(ask),
        )
    )


def correlation(number: int) -> str:
    return f"{number:016x}"


def stream_of(customer: str, tenant: Tenant = TENANT) -> UUID:
    return stream_id(tenant, stream_name("customer", customer))


def _or_unset(text: str | None) -> str | UnsetType:
    return UNSET if text is None else text
