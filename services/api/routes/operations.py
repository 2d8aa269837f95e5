"""For whoever runs this: alive, ready, metrics."""

from litestar import get
from litestar.types import Scope

from services.api import metrics
from services.api.answers import Answer, document, json
from services.api.parts import parts_of

_ALIVE = json({"status": "alive"})


@get("/livez")
async def livez(scope: Scope) -> Answer:
    """This process answers; nothing else is asked."""
    return Answer(_ALIVE.body, _ALIVE.headers)


@get("/readyz")
async def readyz(scope: Scope) -> Answer:
    """503 and names while something that requests need is missing."""
    problems = await parts_of(scope).readiness.problems()
    content = {"status": "not ready" if problems else "ready", "problems": problems}
    return json(content, status=503 if problems else 200)


@get("/metrics")
async def exposition(scope: Scope) -> Answer:
    """Prometheus text format."""
    return document(*metrics.exposition())


ROUTES = (livez, readyz, exposition)
