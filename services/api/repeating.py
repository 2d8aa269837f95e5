"""Who repeats a write that was not applied: the SDK by itself, or its caller."""

from services.api.call import Call
from services.api.errors import SHOULD_NOT_RETRY, ApiError, earlier_attempt_unknown
from services.api.parsing.values import attempt_of

_NOT_APPLIED = frozenset({408, 429, 503})


def repeated_by_whom(error: ApiError, call: Call, method: str) -> ApiError:
    """The answer to a write of the SDK without a key, else `error` as it is.

    The ledger takes the SDK's own retry for the repetition of an equal command of some minutes before, if there was one:
    its answer would be 200, and nothing would be done. And of a retry only this attempt is known not to be applied
    (docs/adr/0026-keyless-writes-are-their-callers.md).
    """
    if error.status not in _NOT_APPLIED or call.keyed or method == "GET":
        return error
    if attempt_of(call) > 0:
        return earlier_attempt_unknown()
    if b"x-stainless-retry-count" not in call.headers:
        return error
    return ApiError(error.status, error.code, error.message, {**error.headers, **SHOULD_NOT_RETRY})
