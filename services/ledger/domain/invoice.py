"""What the wallet has paid of one invoice. Pure."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, assert_never

from msgspec import Struct
from msgspec.structs import replace

from events.requested import InvoiceFact, InvoiceSettled, InvoiceSettlementReturned

PARTS_MAX = 1_000
"""Settlements of one invoice that are remembered each for itself."""


class Part(NamedTuple):
    """What a settlement applied, and when it took effect."""

    time: str
    amount: int


class Invoice(Struct, frozen=True, array_like=True, tag=2):
    """Decision state. `parts`: applied by settlements and not given back to any payment that failed, the earliest first."""

    version: int = 0
    currency: str = ""
    parts: tuple[Part, ...] = ()

    @property
    def open(self) -> int:
        """Minor units of all parts."""
        return sum(part.amount for part in self.parts)


NEVER_SETTLED = Invoice()


def evolve_invoice(invoice: Invoice, fact: InvoiceFact, effective: str) -> Invoice:
    """Total: history is folded, never judged. `effective` is the event's."""
    seen = replace(invoice, version=invoice.version + 1)
    match fact:
        case InvoiceSettled():
            more = [Part(effective, fact.applied)] if fact.applied else []
            return replace(seen, currency=fact.currency, parts=_bounded(sorted([*seen.parts, *more])))
        case InvoiceSettlementReturned():
            return replace(seen, parts=tuple(_less(seen.parts, fact.amount)))
        case _:
            assert_never(fact)


def _bounded(parts: list[Part]) -> tuple[Part, ...]:
    """Of too many the two earliest count as one, of the later moment."""
    if len(parts) <= PARTS_MAX:
        return tuple(parts)
    first, second, *others = parts
    return second._replace(amount=first.amount + second.amount), *others


def _less(parts: Iterable[Part], amount: int) -> Iterator[Part]:
    """The earliest are given back first: none that is later than one which stays."""
    for part in parts:
        given = min(part.amount, amount)
        amount -= given
        if given < part.amount:
            yield part._replace(amount=part.amount - given)
