"""The operations that read what upstream told: those of the SDK."""

from collections.abc import Mapping

from msgspec import Struct

from services.api.documents.operation import (
    AT_LEAST,
    CURRENCY,
    INVALID_QUERY,
    MOMENT,
    NOT_FOUND,
    OLD,
    PAGE,
    TEXT,
    Operation,
    Parameter,
)
from services.api.foreign_ports import DISPUTES, LICENCE_KEYS, PAYMENTS, REFUNDS, SUBSCRIPTIONS, Kind
from services.api.keys import Scope
from services.api.parsing.foreign import LISTINGS
from services.api.shapes.foreign import (
    DisputePage,
    GetDispute,
    LineItems,
    Payment,
    PaymentPage,
    Refund,
    RefundPage,
)
from services.api.shapes.licences import (
    LicenseKey,
    LicenseKeyInstance,
    LicenseKeyInstancePage,
    LicenseKeyPage,
)
from services.api.shapes.subscriptions import Subscription, SubscriptionPage

_TEXTS: Mapping[str, str] = {
    "brand_id": "Of this brand",
    "created_at_gte": "Created at or after",
    "created_at_lte": "Created at or before",
    "currency": "In this currency",
    "customer_id": "Of this customer",
    "product_id": "Of this product",
    "subscription_id": "Of this subscription",
}


def _filters(kind: Kind) -> tuple[Parameter, ...]:
    listing = LISTINGS[kind]
    return tuple(
        Parameter(
            name, "query", _TEXTS.get(name, "With this word only"), _schema(name, listing.words.get(name))
        )
        for name in sorted(listing.parameters)
    )


def _schema(name: str, choices: tuple[str, ...] | None) -> dict[str, object]:
    if choices is not None:
        return {"type": "string", "enum": list(choices)}
    if name == "currency":
        return CURRENCY
    return MOMENT if name.startswith("created_at") else TEXT


def _list(
    kind: Kind,
    path: str,
    identifier: str,
    summary: str,
    answer: type[Struct],
    tag: str,
) -> Operation:
    return Operation(
        "get", path, identifier, summary, "Newest first.", tag, Scope.READ, None, answer,
        (*PAGE, *_filters(kind), AT_LEAST), (*INVALID_QUERY, *OLD),
    )  # fmt: skip


def _one(
    path: str, identifier: str, summary: str, answer: type[Struct], tag: str, description: str = ""
) -> Operation:
    name = path.partition("{")[2].partition("}")[0]
    found = Parameter(name, "path", "Its id", {"type": "string", "pattern": "^[!-~]{1,128}$"})
    return Operation(
        "get", path, identifier, summary, description, tag, Scope.READ, None, answer, (found, AT_LEAST),
        (*NOT_FOUND, *OLD), ("Ledger-Position",),
    )  # fmt: skip


_LINE_ITEMS = _one(
    "/payments/{payment_id}/line-items", "retrieveLineItems", "What of a payment can be given back", LineItems,
    "Payments", "In the settlement currency, unless currency names the one it was paid in.",
)  # fmt: skip

FOREIGN = (
    _list(PAYMENTS, "/payments", "listPayments", "List payments", PaymentPage, "Payments"),
    _one(
        "/payments/{payment_id}", "retrievePayment", "Retrieve a payment", Payment, "Payments",
        "With its refunds and disputes.",
    ),
    _LINE_ITEMS._replace(
        parameters=(
            *_LINE_ITEMS.parameters, Parameter("currency", "query", "The one that the payment was made in", CURRENCY),
        ),
        errors=(*_LINE_ITEMS.errors, *INVALID_QUERY),
    ),
    _list(REFUNDS, "/refunds", "listRefunds", "List refunds", RefundPage, "Payments"),
    _one("/refunds/{refund_id}", "retrieveRefund", "Retrieve a refund", Refund, "Payments"),
    _list(DISPUTES, "/disputes", "listDisputes", "List disputes", DisputePage, "Payments"),
    _one("/disputes/{dispute_id}", "retrieveDispute", "Retrieve a dispute", GetDispute, "Payments"),
    _list(
        SUBSCRIPTIONS, "/subscriptions", "listSubscriptions", "List subscriptions", SubscriptionPage, "Subscriptions"
    ),
    _one(
        "/subscriptions/{subscription_id}", "retrieveSubscription", "Retrieve a subscription", Subscription,
        "Subscriptions",
    ),
    _list(LICENCE_KEYS, "/license_keys", "listLicenseKeys", "List licence keys", LicenseKeyPage, "Licence keys"),
    _one(
        "/license_keys/{licence_key_id}", "retrieveLicenseKey", "Retrieve a licence key", LicenseKey, "Licence keys"
    ),
    Operation(
        "get", "/license_key_instances", "listLicenseKeyInstances", "List where licence keys are activated",
        "Newest first.", "Licence keys", Scope.READ, None, LicenseKeyInstancePage,
        (
            *PAGE,
            Parameter("license_key_id", "query", "Of this licence key", TEXT),
            Parameter("grant_id", "query", "Of this grant: here there are none", TEXT),
            AT_LEAST,
        ),
        (*INVALID_QUERY, *OLD),
    ),
    _one(
        "/license_key_instances/{instance_id}", "retrieveLicenseKeyInstance", "Retrieve an activation",
        LicenseKeyInstance, "Licence keys",
    ),
)  # fmt: skip
