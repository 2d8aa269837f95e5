"""What goes wrong, as the SDK reads it: `{"code", "message"}` and a status. No message holds a value of the request."""

from collections.abc import Mapping

from events.facts import Refusal

SHOULD_RETRY = {"x-should-retry": "true"}
SHOULD_NOT_RETRY = {"x-should-retry": "false"}


class ApiError(Exception):
    """An answer that is not a success."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


def unauthorized(message: str) -> ApiError:
    return ApiError(401, "UNAUTHORIZED", message, {"www-authenticate": "Bearer"})


def not_found(message: str = "Item not found", headers: Mapping[str, str] | None = None) -> ApiError:
    """Also the answer for what belongs to another business: nobody learns that it exists."""
    return ApiError(404, "NOT_FOUND", message, headers)


def invalid_body(message: str) -> ApiError:
    return ApiError(422, "INVALID_REQUEST_BODY", message)


def invalid_query(message: str) -> ApiError:
    return ApiError(422, "INVALID_QUERY_PARAMS", message)


def invalid_parameters(message: str) -> ApiError:
    """A header that cannot be right, or fields that do not go together."""
    return ApiError(422, "INVALID_REQUEST_PARAMETERS", message)


def too_many_metadata_keys(limit: int) -> ApiError:
    return ApiError(422, "MAXIMUM_KEYS_REACHED", f"Metadata has at most {limit} pairs")


def payload_too_large(limit: int, of: str = "A request body has") -> ApiError:
    return ApiError(413, "PAYLOAD_TOO_LARGE", f"{of} at most {limit} bytes")


def unsupported_media_type() -> ApiError:
    return ApiError(415, "UNSUPPORTED_MEDIA_TYPE", "Send the body as application/json")


def request_timeout(seconds: float) -> ApiError:
    return ApiError(408, "REQUEST_TIMEOUT", f"The body did not come within {seconds:g} seconds")


def no_webhook_endpoint() -> ApiError:
    return not_found("No such webhook endpoint")


def webhook_unsigned() -> ApiError:
    message = "Send webhook-id, webhook-timestamp and webhook-signature, each once and of its form"
    return ApiError(401, "WEBHOOK_SIGNATURE_INVALID", message)


def webhook_signed_otherwise() -> ApiError:
    """By another secret, or something else than came."""
    message = (
        "The signature does not match: sign webhook-id, webhook-timestamp and the body as sent, "
        "with the secret of this endpoint"
    )
    return ApiError(401, "WEBHOOK_SIGNATURE_INVALID", message)


def webhook_out_of_time() -> ApiError:
    return ApiError(
        401, "WEBHOOK_TIMESTAMP_INVALID", "webhook-timestamp is more than five minutes away from now"
    )


def wrong_tenant() -> ApiError:
    """What was signed names another business, or the other mode, than the endpoint's."""
    return ApiError(
        403, "WRONG_TENANT", "This endpoint belongs to another business or mode than the body names"
    )


def too_many_requests(seconds: int) -> ApiError:
    """Not applied. The SDK waits for as long as it is told."""
    return ApiError(
        429, "TOO_MANY_REQUESTS", "Too many requests: wait", {**SHOULD_RETRY, "retry-after": str(seconds)}
    )


def unavailable(message: str) -> ApiError:
    """Certainly not applied: repeating is safe."""
    return ApiError(503, "SERVICE_UNAVAILABLE", message, {**SHOULD_RETRY, "retry-after": "1"})


def too_slow() -> ApiError:
    """Asked again at once it would take as long."""
    return ApiError(
        503,
        "SERVICE_UNAVAILABLE",
        "This took longer than a read may: narrow the time or the filter",
        SHOULD_NOT_RETRY,
    )


def exports_busy() -> ApiError:
    return ApiError(
        503, "EXPORTS_BUSY", "As many exports run as may: wait for one", {**SHOULD_RETRY, "retry-after": "5"}
    )


def deadline_exceeded() -> ApiError:
    """The worker saw the command too late and wrote nothing."""
    return ApiError(503, "DEADLINE_EXCEEDED", "The request came too late and was not applied", SHOULD_RETRY)


def not_yet_visible() -> ApiError:
    return ApiError(
        503, "NOT_YET_VISIBLE", "The read models have not reached this Ledger-Position yet", SHOULD_RETRY
    )


def outcome_unknown(*, keyed: bool) -> ApiError:
    """Whether it was applied is not known; only a repetition with the same key is safe."""
    advice = "repeat it with the same idempotency key" if keyed else "look at the ledger before repeating it"
    headers = SHOULD_RETRY if keyed else SHOULD_NOT_RETRY
    return ApiError(504, "OUTCOME_UNKNOWN", f"No outcome in time: {advice}", headers)


def earlier_attempt_unknown() -> ApiError:
    """This one was not applied, but it is a repetition."""
    message = (
        "This attempt was not applied, an earlier one may have been: "
        "repeat it with its idempotency key, or look at the ledger before repeating it"
    )
    return ApiError(504, "OUTCOME_UNKNOWN", message, SHOULD_NOT_RETRY)


def key_reused() -> ApiError:
    return ApiError(
        409, "IDEMPOTENCY_KEY_REUSED", "This idempotency key belongs to another request", SHOULD_NOT_RETRY
    )


def internal() -> ApiError:
    return ApiError(
        500,
        "INTERNAL_SERVER_ERROR",
        "Internal error; quote the X-Request-Id of this answer",
        SHOULD_NOT_RETRY,
    )


_REFUSALS: dict[str, tuple[int, str]] = {
    Refusal.NOT_FOUND: (404, "Item not found"),
    Refusal.CUSTOMER_EXISTS: (409, "The customer exists"),
    Refusal.UNSUPPORTED_CURRENCY: (
        422,
        "This currency is not open for wallets, or not that of the payment or invoice",
    ),
    Refusal.INSUFFICIENT_WALLET_FUNDS: (400, "Insufficient funds in wallet"),
    Refusal.BALANCE_LIMIT_EXCEEDED: (400, "The balance would exceed the largest amount"),
    Refusal.CUSTOMER_BLOCKED: (409, "The customer is blocked: no debits until unblocked"),
    Refusal.CUSTOMER_CLOSED: (409, "The customer is closed for good"),
    Refusal.ANOTHER_ENTRY_FAILED: (
        409,
        "Another entry of this customer failed, and all or none was asked for",
    ),
    Refusal.PAYMENT_NOT_SUCCEEDED: (400, "The payment has not succeeded"),
    Refusal.PAYMENT_ALREADY_REFUNDED: (400, "All of the payment was given back"),
    Refusal.ZERO_AMOUNT_PAYMENT_REFUND_NOT_ALLOWED: (400, "Nothing was paid"),
    Refusal.REFUND_AMOUNT_EXCEEDS_PAID_AMOUNT: (400, "More than can still be given back of the payment"),
    Refusal.EXISTING_REFUND_REQUEST_PROCESSING: (400, "Another refund of the payment is not done yet"),
    Refusal.PARTIAL_REFUND_NOT_ALLOWED: (422, "The payment has too many refunds and disputes"),
    Refusal.REFUND_TO_WALLET_NOT_ALLOWED: (400, "This payment cannot be refunded into a wallet"),
    Refusal.SUBSCRIPTION_INACTIVE: (422, "The subscription has ended"),
    Refusal.SUBSCRIPTION_EXPIRED: (422, "The subscription has expired"),
    Refusal.EXISTING_SUBSCRIPTION_CHANGE_PROCESSING: (422, "Another change is not done yet"),
    Refusal.WALLET_NOT_EMPTY: (409, "A wallet of the customer holds money: debit it before closing"),
    Refusal.CUSTOMER_NOT_CLOSED: (409, "Only a closed customer can be erased: close them first"),
    Refusal.CUSTOMER_ERASED: (409, "The customer is erased"),
}


def refused(code: str, position: str = "") -> ApiError:
    """A business refusal, as the ledger recorded it at `position`, if it did."""
    status, message = _REFUSALS.get(code, (400, "Refused"))
    headers = dict(SHOULD_NOT_RETRY) if status == 409 else {}
    if position:
        headers["ledger-position"] = position
    return ApiError(status, code, message, headers)
