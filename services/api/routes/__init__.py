"""One module per resource. Handlers parse, ask and answer; they decide nothing about money."""

from collections.abc import Sequence

from litestar.handlers import HTTPRouteHandler

from services.api.routes import (
    blocklist,
    bulk,
    customers,
    documents,
    ledger_entries,
    lifecycle,
    lookups,
    operations,
    payments,
    requests,
    subscriptions,
    wallets,
    webhooks,
)

ROUTES: Sequence[HTTPRouteHandler] = (
    *customers.ROUTES,
    *wallets.ROUTES,
    *ledger_entries.ROUTES,
    *bulk.ROUTES,
    *lifecycle.ROUTES,
    *blocklist.ROUTES,
    *lookups.ROUTES,
    *requests.ROUTES,
    *webhooks.ROUTES,
    *payments.ROUTES,
    *subscriptions.ROUTES,
    *operations.ROUTES,
    *documents.ROUTES,
)
