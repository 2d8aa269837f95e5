"""OPTIONS: which methods a path takes. Litestar's own answer names only those of one handler."""

from collections import defaultdict
from collections.abc import Iterable

from litestar import route
from litestar.handlers import HTTPRouteHandler
from litestar.types import Scope

from services.api.answers import Answer, nothing


def allowed(handlers: Iterable[HTTPRouteHandler]) -> HTTPRouteHandler:
    """One handler for all paths of these; it must be registered before them."""
    methods: dict[str, set[str]] = defaultdict(lambda: {"OPTIONS"})
    for handler in handlers:
        for path in handler.paths:
            methods[path] |= handler.http_methods
    allow = {path.replace(":str", ""): ", ".join(sorted(found)) for path, found in methods.items()}

    @route(sorted(methods), http_method=["OPTIONS"])
    async def options(scope: Scope) -> Answer:
        return nothing({"allow": allow[scope["path_template"]]})

    return options
