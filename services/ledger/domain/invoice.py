"""What the wallet has paid of one invoice. Pure."""

from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from events.requested import InvoiceFact, InvoiceSettled, InvoiceSettlementReturned


class Invoice(Struct, frozen=True, array_like=True, tag=2):
    """Decision state. `open`: applied by settlements and not given back to any payment that failed."""

    version: int = 0
    currency: str = ""
    open: int = 0


NEVER_SETTLED = Invoice()


def evolve_invoice(invoice: Invoice, fact: InvoiceFact) -> Invoice:
    """Total: history is folded, never judged."""
    seen = replace(invoice, version=invoice.version + 1)
    match fact:
        case InvoiceSettled():
            return replace(seen, currency=fact.currency, open=seen.open + fact.applied)
        case InvoiceSettlementReturned():
            return replace(seen, open=seen.open - fact.amount)
        case _:
            assert_never(fact)
