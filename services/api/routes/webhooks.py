"""`/webhooks/payments/{endpoint}`: what upstream delivers by webhook."""

from litestar import post
from litestar.types import Scope

from services.api import metrics
from services.api.answers import Answer, json
from services.api.call import Call
from services.api.errors import ApiError
from services.api.parts import parts_of, path_of
from services.api.shapes.webhooks import WebhookTaken


@post("/webhooks/payments/{endpoint:str}", status_code=200)
async def take(scope: Scope) -> Answer:
    """200 says that Kafka has it."""
    parts = parts_of(scope)
    call: Call = scope["state"]["call"]
    try:
        fresh = await parts.door.take(call, path_of(scope)["endpoint"], parts.settings.body_bytes_max)
    except ApiError as error:
        metrics.webhook(error.code.lower())
        raise
    metrics.webhook("taken" if fresh else "duplicate")
    return json(WebhookTaken(status="taken" if fresh else "duplicate"))


ROUTES = (take,)
