"""The operation of upstream's door."""

from services.api.documents.operation import TEXT, Operation, Parameter
from services.api.shapes.webhooks import Webhook, WebhookTaken

WEBHOOKS = (
    Operation(
        "post", "/webhooks/payments/{endpoint}", "takeWebhook", "Take a delivery of upstream",
        "200 comes after Kafka has it. The business and the mode are the endpoint's; a body that names others is "
        "refused. A `webhook-id` that was taken before changes nothing. Deliver again after anything but 200.",
        "Webhooks", None, Webhook, WebhookTaken,
        (
            Parameter("endpoint", "path", "As `wallet-ledger webhooks create` shows it",
                      {"type": "string", "pattern": "^whk_[0-9a-f]{20}$"}),
            Parameter("webhook-id", "header", "The same when a delivery is repeated", TEXT, required=True),
            Parameter("webhook-timestamp", "header", "Unix seconds, at most five minutes away from now", TEXT,
                      required=True),
            Parameter("webhook-signature", "header", "v1,<base64>, or several of them with blanks between", TEXT,
                      required=True),
        ),
        (
            (401, "WEBHOOK_SIGNATURE_INVALID"), (401, "WEBHOOK_TIMESTAMP_INVALID"), (403, "WRONG_TENANT"),
            (404, "NOT_FOUND"), (408, "REQUEST_TIMEOUT"), (413, "PAYLOAD_TOO_LARGE"),
            (415, "UNSUPPORTED_MEDIA_TYPE"), (422, "INVALID_REQUEST_BODY"), (429, "TOO_MANY_REQUESTS"),
            (500, "INTERNAL_SERVER_ERROR"), (503, "SERVICE_UNAVAILABLE"),
        ),
    ),
)  # fmt: skip
