"""The operations that ask something about upstream's objects, and those of settlements."""

from services.api.documents.operation import (
    AT_LEAST,
    CLOSED,
    CUSTOMER,
    INVALID_BODY,
    INVALID_METADATA,
    KEY,
    NOT_FOUND,
    OLD,
    PREFER,
    WRITE,
    WRITE_HEADERS,
    Operation,
    Parameter,
)
from services.api.keys import Scope
from services.api.shapes.foreign import Refund
from services.api.shapes.requests import (
    CreateRefund,
    CreateRefundToWallet,
    CreateSettlement,
    CreateTopUp,
    Settlement,
    TopUp,
    UpdateSubscription,
)
from services.api.shapes.subscriptions import Subscription

_HEADERS = (*WRITE_HEADERS, "Ledger-Request-Id")
_SUBSCRIPTION = Parameter(
    "subscription_id", "path", "Its id", {"type": "string", "pattern": "^[!-~]{1,128}$"}
)
_REFUND = (
    (400, "PAYMENT_NOT_SUCCEEDED"), (400, "PAYMENT_ALREADY_REFUNDED"), (400, "REFUND_AMOUNT_EXCEEDS_PAID_AMOUNT"),
    (400, "EXISTING_REFUND_REQUEST_PROCESSING"), (400, "ZERO_AMOUNT_PAYMENT_REFUND_NOT_ALLOWED"),
    *NOT_FOUND, *CLOSED, (422, "UNSUPPORTED_CURRENCY"), (422, "PARTIAL_REFUND_NOT_ALLOWED"),
    *INVALID_BODY, *INVALID_METADATA, *OLD, *WRITE,
)  # fmt: skip
_CURRENCY = ((422, "UNSUPPORTED_CURRENCY"),)

REQUESTS = (
    Operation(
        "post", "/refunds", "createRefund", "Ask for a refund to the card",
        "A request: upstream gives the money back, until then the refund is pending under this id. At most what was "
        "paid less all refunds that have not failed, and one at a time. Items say their amount with its tax, unless "
        "there is one only. metadata may not hold wallet_action.",
        "Payments", Scope.REFUND, CreateRefund, Refund, (KEY, PREFER, AT_LEAST),
        (
            *_REFUND, (422, "LINE_ITEM_NOT_FOUND"), (422, "DUPLICATE_LINE_ITEMS_IN_REQUEST"),
            (422, "LINE_ITEM_REFUND_AMOUNT_TOO_LOW"),
        ),
        _HEADERS,
    ),
    Operation(
        "post", "/v1/refunds/to-wallet", "refundToWallet", "Refund a payment into the customer's wallet",
        "Done at once, as a credit with cause refund. Not of a top-up: that is in the wallet already.",
        "Payments", Scope.REFUND, CreateRefundToWallet, Refund, (KEY, PREFER, AT_LEAST),
        (*_REFUND, (400, "REFUND_TO_WALLET_NOT_ALLOWED"), (400, "BALANCE_LIMIT_EXCEEDED")), WRITE_HEADERS,
    ),
    Operation(
        "patch", "/subscriptions/{subscription_id}", "updateSubscription", "Ask for a change of a subscription",
        "A request: answers with the subscription as it is known until upstream has changed it. One at a time.",
        "Subscriptions", Scope.WRITE, UpdateSubscription, Subscription,
        (_SUBSCRIPTION, KEY, PREFER, AT_LEAST),
        (
            *NOT_FOUND, *CLOSED, (422, "SUBSCRIPTION_INACTIVE"), (422, "SUBSCRIPTION_EXPIRED"),
            (422, "EXISTING_SUBSCRIPTION_CHANGE_PROCESSING"), *INVALID_BODY, *INVALID_METADATA, *OLD, *WRITE,
        ),
        _HEADERS,
    ),
    Operation(
        "post", "/v1/customers/{customer_id}/wallets/settlements", "settleInvoice", "Pay an invoice, wallet first",
        "Debits what is there, at most the amount, and says what remains for the payment method. Given back when the "
        "payment of the invoice fails.",
        "Wallets", Scope.WRITE, CreateSettlement, Settlement, (CUSTOMER, KEY, PREFER),
        (
            (400, "BALANCE_LIMIT_EXCEEDED"), *NOT_FOUND, (409, "CUSTOMER_BLOCKED"), *CLOSED, *_CURRENCY,
            *INVALID_BODY, *WRITE,
        ),
        WRITE_HEADERS,
    ),
    Operation(
        "post", "/v1/customers/{customer_id}/wallets/top-ups", "requestTopUp", "Ask for credit to be bought",
        "A request: the wallet is credited when upstream has taken a payment that names it.",
        "Wallets", Scope.WRITE, CreateTopUp, TopUp, (CUSTOMER, KEY, PREFER),
        (
            (400, "BALANCE_LIMIT_EXCEEDED"), *NOT_FOUND, *CLOSED, *_CURRENCY, *INVALID_BODY, *INVALID_METADATA,
            *WRITE,
        ),
        _HEADERS,
    ),
)  # fmt: skip
