"""`/customers/{customer_id}/wallets`."""

from datetime import datetime

from litestar import get
from litestar.types import Scope

from services.api.answers import Answer, json
from services.api.errors import not_found
from services.api.parsing.values import customer_id
from services.api.parts import as_of, reading
from services.api.ports import WalletRow
from services.api.shapes.customers import CustomerWallet, WalletList


@get("/customers/{customer_id:str}/wallets")
async def list_wallets(scope: Scope) -> Answer:
    """Every open currency, at 0 where nothing happened."""
    visit = await reading(scope)
    identifier = customer_id(visit.path["customer_id"])
    sequence, created_at, rows = await visit.parts.queries.wallets(visit.caller.tenant, identifier)
    headers = as_of(visit, identifier, sequence)
    if created_at is None:
        raise not_found(headers=headers)
    rates = visit.parts.rates
    items = _all_open(visit.parts.settings.currencies, rows, identifier, created_at)
    total = rates.total_cents((item.currency, item.balance) for item in items)
    return json(
        WalletList(items=items, total_balance_usd=total), {**headers, "ledger-usd-rates": rates.header}
    )


ROUTES = (list_wallets,)


def _all_open(
    currencies: tuple[str, ...], rows: list[WalletRow], identifier: str, created_at: datetime
) -> list[CustomerWallet]:
    """A wallet opens with its customer and is first written at its first entry."""
    by_currency = {row.currency: row for row in rows}
    untouched = [WalletRow(currency, 0, created_at) for currency in currencies]
    return [
        CustomerWallet(
            balance=row.balance,
            created_at=created_at,
            currency=row.currency,
            customer_id=identifier,
            updated_at=row.updated_at,
        )
        for row in (by_currency.get(none.currency, none) for none in untouched)
    ]
