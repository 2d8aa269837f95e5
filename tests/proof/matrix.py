"""Every operation x every kind of caller, made from the table of operations: what is not yours is what does not exist.

An operation whose ids or body are not in the tables here fails the run: nothing joins the api unseen.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx

from services.api.documents.operation import Operation
from services.api.documents.operations import OPERATIONS
from services.api.keys import Scope
from services.api.shapes.bulk import CreateLedgerEntries
from services.api.shapes.customers import (
    BlockCustomer,
    ChangeStatus,
    CreateCustomer,
    CreateLedgerEntry,
    UpdateCustomer,
)
from services.api.shapes.requests import (
    CreateRefund,
    CreateRefundToWallet,
    CreateSettlement,
    CreateTopUp,
    UpdateSubscription,
)

KINDS = {
    "/customers/{customer_id}": "customer",
    "/v1/customers/{customer_id}": "customer",
    "/blocklist/customers/{entry_id}": "block",
    "/v1/ledger-entries/{entry_id}": "entry",
    "/payments/{payment_id}": "payment",
    "/refunds/{refund_id}": "refund",
    "/disputes/{dispute_id}": "dispute",
    "/subscriptions/{subscription_id}": "subscription",
    "/license_keys/{licence_key_id}": "licence_key",
    "/license_key_instances/{instance_id}": "instance",
}
"""What an id in a path is of, by the path up to it."""

QUERIES = {"customer_id": "customer", "subscription_id": "subscription", "license_key_id": "licence_key"}
"""The same for parameters of queries."""

BODIES: dict[type, Any] = {
    CreateCustomer: {"name": "Matrix", "email": "matrix@example.com"},
    UpdateCustomer: {"name": "Matrix"},
    CreateLedgerEntry: {"amount": 1, "currency": "USD", "entry_type": "credit"},
    ChangeStatus: {},
    BlockCustomer: {"customer_id": "{customer}"},
    CreateLedgerEntries: {
        "items": [
            {
                "customer_id": "{customer}", "amount": 1, "currency": "USD", "entry_type": "credit",
                "idempotency_key": "matrix",
            }
        ]
    },
    CreateRefund: {"payment_id": "{payment}"},
    CreateRefundToWallet: {"payment_id": "{payment}", "amount": 1, "currency": "USD"},
    UpdateSubscription: {"cancel_at_next_billing_date": True},
    CreateSettlement: {"invoice_id": "inv_matrix", "currency": "USD", "amount": 1},
    CreateTopUp: {"currency": "USD", "amount": 1},
}  # fmt: skip
"""A valid body for each; `{customer}` stands for the id of one, and so on for other kinds."""

STRANGERS: dict[str, dict[str, str]] = {
    "no key": {},
    "no secret": {"authorization": "Bearer"},
    "another scheme": {"authorization": "Basic d2w6d2w="},
    "not a key": {"authorization": "Bearer wl_test_" + "x" * 43},
    "too long": {"authorization": "Bearer " + "x" * 5_000},
}
OWN_HEADERS = frozenset({"date", "x-request-id", "ledger-position", "x-ratelimit-remaining"})
"""Differ between any two answers; a position is compared by whether it is there."""


class Ids(NamedTuple):
    """One id of each kind."""

    customer: str
    block: str
    entry: str
    payment: str
    refund: str
    dispute: str
    subscription: str
    licence_key: str
    instance: str


@dataclass
class Keys:
    """Headers by caller. `dead`: keys that were; `reader` and `writer` have one scope of the owner's tenant."""

    owner: dict[str, str]
    other: dict[str, str]
    reader: dict[str, str]
    writer: dict[str, str]
    dead: dict[str, dict[str, str]]


@dataclass
class Matrix:
    """`cells`: how many were looked at."""

    cells: int = 0
    broken: list[str] = field(default_factory=list)

    def see(self, operation: Operation, caller: str, right: bool, said: httpx.Response) -> None:
        self.cells += 1
        if not right:
            self.broken.append(
                f"{operation.identifier} by {caller}: {said.status_code} {said.text[:200]} {dict(said.headers)}"
            )


def keyed() -> list[Operation]:
    """Operations that need a key."""
    return [operation for operation in OPERATIONS if operation.scope is not None]


def kinds_of(operation: Operation) -> dict[str, str]:
    """Kind by parameter. Raises KeyError: the operation is new here."""
    return {
        found[1]: KINDS[operation.path[: found.end()]] for found in re.finditer(r"\{(\w+)\}", operation.path)
    }


def request(operation: Operation, ids: Ids) -> dict[str, Any]:
    """What httpx is to send, valid, for these ids. Raises KeyError: the operation is new here."""
    values = {name: getattr(ids, kind) for name, kind in kinds_of(operation).items()}
    made: dict[str, Any] = {"method": operation.method.upper(), "url": operation.path.format(**values)}
    named = {one.name for one in operation.parameters if one.place == "query"} & QUERIES.keys()
    if named:
        made["params"] = {name: getattr(ids, QUERIES[name]) for name in named}
    if operation.body is not None:
        made["json"] = _filled(BODIES[operation.body], ids)
    return made


def names_somebody(operation: Operation) -> bool:
    """Whether the request names anything that belongs to somebody."""
    here, there = (request(operation, Ids(*(f"{mark}{kind}" for kind in Ids._fields))) for mark in "ab")
    return here != there


def look(client: httpx.Client, keys: Keys, mine: Ids, absent: Ids) -> Matrix:
    """`mine` are the owner's; `absent` are nobody's, the customer in the same shard."""
    matrix = Matrix()
    before = _seen(client, keys.owner, mine)
    for operation in keyed():
        sent = request(operation, mine)
        for name, headers in [*STRANGERS.items(), *keys.dead.items()]:
            said = client.request(**sent, headers=headers)
            matrix.see(operation, name, _refused(said), said)
        lesser = keys.writer if operation.scope is Scope.READ else keys.reader
        said = client.request(**sent, headers=lesser)
        matrix.see(operation, "a key without the scope", _refused(said), said)
        if names_somebody(operation):
            theirs = client.request(**sent, headers=keys.other)
            nobodys = client.request(**request(operation, absent), headers=keys.other)
            same = shown(theirs, mine) == shown(nobodys, absent)
            fits = theirs.status_code == 404 if kinds_of(operation) else same
            matrix.see(operation, "another tenant", same and fits, theirs)
    matrix.cells += 1
    if _seen(client, keys.owner, mine) != before:
        matrix.broken.append("something of the owner changed")
    return matrix


def shown(said: httpx.Response, ids: Ids) -> tuple[Any, ...]:
    """What a caller can learn, without the ids that he sent himself."""
    body = said.text
    for number, identifier in enumerate(ids):
        body = body.replace(identifier, f"<{number}>")
    headers = {name: "" if name in OWN_HEADERS else value for name, value in said.headers.items()}
    return said.status_code, re.sub(r'"ledger_position":"\d+:\d+"', "", body), sorted(headers.items())


def _refused(said: httpx.Response) -> bool:
    return (said.status_code, said.json()["code"]) == (401, "UNAUTHORIZED")


def _filled(body: Any, ids: Ids) -> Any:
    if isinstance(body, Mapping):
        return {name: _filled(value, ids) for name, value in body.items()}
    if isinstance(body, list):
        return [_filled(value, ids) for value in body]
    return getattr(ids, body[1:-1]) if isinstance(body, str) and body.startswith("{") else body


def _seen(client: httpx.Client, headers: dict[str, str], ids: Ids) -> list[tuple[str, str]]:
    """What the owner sees of his own."""
    return [
        (operation.identifier, client.request(**request(operation, ids), headers=headers).text)
        for operation in keyed()
        if operation.method == "get" and kinds_of(operation)
    ]
