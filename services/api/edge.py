"""What every request and answer gets: its path as sent, a request id, security headers, a measurement."""

from time import perf_counter

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from services.api import metrics
from services.api.answers import json
from services.api.call import Call
from services.api.shapes.customers import Error

SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_NOWHERE = json(Error(code="NOT_FOUND", message="No such route"), status=404)


class Edge:
    """Outermost ASGI application: one function call per request instead of a stack of middlewares."""

    def __init__(self, app: ASGIApp, body_bytes_max: int) -> None:
        self._app = app
        self._body_bytes_max = body_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        call = Call(scope, receive, self._body_bytes_max)
        scope.setdefault("state", {})["call"] = call  # a server without lifespan has no state
        # Routed as sent: an encoded slash belongs to an id. The router would drop empty parts, and find something else.
        path = scope["path"] = scope["raw_path"].decode("latin-1")
        app = _NOWHERE if "//" in path or path.endswith("/") else self._app
        status = 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    *SECURITY_HEADERS,
                    *call.limits,
                    (b"content-security-policy", call.policy),
                    (b"x-request-id", call.request_id),
                ]
            await send(message)

        try:
            await app(scope, receive, answer)
        finally:
            route = scope.get("path_template") or "other"
            metrics.request(str(route), scope["method"], status, perf_counter() - started)
