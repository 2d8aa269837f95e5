"""The ASGI application: routes, the shape of errors, and the edge around them."""

import traceback
from typing import Any

import msgspec
import structlog
from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp

from services.api import errors
from services.api.answers import JSON
from services.api.edge import Edge
from services.api.lookups import ExportsBusy
from services.api.parts import Parts
from services.api.ports import ViewsTooSlow, ViewsUnavailable
from services.api.repeating import repeated_by_whom
from services.api.routes import ROUTES
from services.api.routes.allowed import allowed
from services.api.shapes.customers import Error

log = structlog.get_logger()

HttpRequest = Request[Any, Any, Any]

_CODES = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "PAYLOAD_TOO_LARGE"}
_MESSAGES = {404: "No such route", 405: "This route does not take this method"}


def create_app(parts: Parts) -> ASGIApp:
    """What the HTTP server runs. Starting and stopping the parts is the composition root's."""
    app = Litestar(
        route_handlers=[allowed(ROUTES), *ROUTES],
        openapi_config=None,
        logging_config=None,
        exception_handlers={
            errors.ApiError: _expected,
            ViewsTooSlow: _views_too_slow,
            ViewsUnavailable: _views_unavailable,
            ExportsBusy: _exports_busy,
            HTTPException: _refused_by_router,
            Exception: _unexpected,
        },
    )
    app.state["parts"] = parts
    return Edge(app, parts.settings.body_bytes_max)


def _answer(request: HttpRequest, error: errors.ApiError) -> Response[bytes]:
    error = repeated_by_whom(error, request.scope["state"]["call"], request.method)
    body = msgspec.json.encode(Error(code=error.code, message=error.message))
    return Response(body, status_code=error.status, headers=error.headers, media_type=JSON.decode())


def _expected(request: HttpRequest, error: errors.ApiError) -> Response[bytes]:
    return _answer(request, error)


def _views_unavailable(request: HttpRequest, _: ViewsUnavailable) -> Response[bytes]:
    return _answer(request, errors.unavailable("The read models cannot be reached"))


def _views_too_slow(request: HttpRequest, _: ViewsTooSlow) -> Response[bytes]:
    return _answer(request, errors.too_slow())


def _exports_busy(request: HttpRequest, _: ExportsBusy) -> Response[bytes]:
    return _answer(request, errors.exports_busy())


def _refused_by_router(request: HttpRequest, error: HTTPException) -> Response[bytes]:
    """Litestar's own refusals: unknown routes, other methods, broken requests."""
    status = error.status_code
    if status >= 500:
        return _unexpected(request, error)
    code = _CODES.get(status, "INVALID_REQUEST")
    headers = {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
    return _answer(
        request, errors.ApiError(status, code, _MESSAGES.get(status, "The request is not valid"), headers)
    )


def _unexpected(request: HttpRequest, error: Exception) -> Response[bytes]:
    """A bug of ours. The text of the exception may hold what a customer sent: where it happened is enough."""
    call = request.scope["state"]["call"]
    log.error(
        "request failed",
        error=type(error).__name__,
        where=[f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)][
            -5:
        ],
        request_id=call.request_id.decode(),
    )
    return _answer(request, errors.internal())
