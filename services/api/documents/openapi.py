"""The OpenAPI 3.1 document: from the table of operations and the Structs that handlers decode and encode."""

from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version

import msgspec

from events.portable import Json, portable
from services.api.documents.operation import COMMON_ERRORS, HEADER_SCHEMAS, HEADERS, Operation
from services.api.documents.operations import OPERATIONS
from services.api.shapes.customers import Error

_REF = "#/components/schemas/{name}"


def document() -> Json:
    """Plain data, ready to be encoded."""
    types = {kind for operation in OPERATIONS for kind in (operation.body, operation.answer) if kind}
    ordered = [Error, *sorted(types, key=lambda kind: kind.__name__)]
    _, schemas = msgspec.json.schema_components(ordered, ref_template=_REF)
    schemas = portable(schemas)
    paths: Json = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Wallet ledger",
            "version": _version(),
            "description": "Wallets of customers. Works with the SDK `dodopayments` by its base URL.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "This server"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key of one business, with the scope named as role",
                }
            },
        },
    }


_TAGS = {
    "Customers": "Whose wallets they are.",
    "Lifecycle": "Who may still spend, and who is gone.",
    "Wallets": "Balances, and the entries that make them.",
    "Payments": "What upstream told of payments, refunds and disputes.",
    "Subscriptions": "What upstream told of subscriptions.",
    "Licence keys": "What upstream told of licence keys, and where they are activated.",
    "Lookups": "Customers and ledger entries, found by what is known of them.",
    "Webhooks": "What upstream tells. Signed as Standard Webhooks are.",
    "Operations": "For whoever runs this service.",
}


def _version() -> str:
    try:
        return version("wallet-ledger")
    except PackageNotFoundError:
        return "0.0.0"


def _operation(operation: Operation) -> Json:
    found: Json = {
        "operationId": operation.identifier,
        "summary": operation.summary,
        "tags": [operation.tag],
        "security": [{"key": [operation.scope.value]}] if operation.scope else [],
        "responses": _responses(operation),
    }
    if operation.description:
        found["description"] = operation.description
    if operation.parameters:
        found["parameters"] = [
            {
                "name": parameter.name,
                "in": parameter.place,
                "required": parameter.required or parameter.place == "path",
                "description": parameter.description,
                "schema": parameter.schema,
            }
            | ({"style": parameter.style} if parameter.style else {})
            for parameter in operation.parameters
        ]
    if operation.body is not None:
        found["requestBody"] = {"required": operation.body_required, "content": _content(operation.body)}
    return found


def _responses(operation: Operation) -> Json:
    success: Json = {"description": "Success"}
    if operation.answer is not None:
        success["content"] = _content(operation.answer)
    if operation.streams:
        success["content"] = {media_type: {"schema": {"type": "string"}} for media_type in operation.streams}
    if operation.scope is not None or operation.body is not None:
        success["headers"] = {
            name: {"description": HEADERS[name], "schema": HEADER_SCHEMAS.get(name, {"type": "string"})}
            for name in (*operation.headers, "X-RateLimit-Remaining", "X-Request-Id")
        }
    responses: Json = {str(operation.status): success}
    errors = operation.errors + (COMMON_ERRORS if operation.scope else ())
    for status in sorted({status for status, _ in errors}):
        codes = ", ".join(sorted({code for found, code in errors if found == status}))
        responses[str(status)] = {"description": f"{HTTPStatus(status).phrase}: {codes}"}
        if operation.scope or operation.body:
            responses[str(status)]["content"] = _content(Error)
    return responses


def _content(kind: type[msgspec.Struct]) -> Json:
    return {"application/json": {"schema": {"$ref": _REF.format(name=kind.__name__)}}}
