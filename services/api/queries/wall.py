"""The second wall between tenants: in a statement, each table's name means the rows of one tenant only.

Every query says whose rows it wants. If one forgets to, or a subquery in it, its tables still are not the tables:
`WITH customers AS (SELECT * FROM customers WHERE …)` stands before it, and PostgreSQL plans that like the condition.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from events.ids import Tenant


class Statement(NamedTuple):
    """Made by `walled` and `shared` only: what a reader takes. `names`: which value each of $1, $2 … is.

    Numbered once, here: psycopg looking values up by name cost every read 4 us.
    """

    query: bytes
    names: tuple[str, ...]


TENANTS = (
    "customers",
    "blocklist_entries",
    "wallets",
    "ledger_entries",
    "accounts",
    "tallies",
    "payments",
    "refunds",
    "disputes",
    "subscriptions",
    "licence_keys",
    "licence_key_instances",
    "requests",
)
"""Tables whose rows belong to a tenant. Keys of the api are looked up before anybody's tenant is known."""

WALL = "WITH " + ", ".join(
    f"{table} AS NOT MATERIALIZED (SELECT * FROM {table} "
    "WHERE business_id = %(business_id)s AND mode = %(mode)s)"
    for table in TENANTS
)
_NAMED = re.compile(r"%\((\w+)\)s")
_TENANTS_TABLE = re.compile(rf"\b({'|'.join(TENANTS)})\b")
_AROUND = re.compile(r"\b(FROM|JOIN)\s+\"?\w+\"?\s*\.|\bpublic\b|\bWITH\b", re.IGNORECASE)


def walled(query: str) -> Statement:
    """A query over tenants' tables; its parameters are named, and `of` adds the tenant's.

    Raises:
        ValueError: it names a table with its schema, or brings a WITH of its own: the wall would not hold.
    """
    if _AROUND.search(query):
        raise ValueError("a query over tenants' tables names them without a schema and has no WITH")
    return _numbered(WALL + query)


def shared(query: str) -> Statement:
    """A query about no tenant.

    Raises:
        ValueError: it names a table of tenants.
    """
    if _TENANTS_TABLE.search(query):
        raise ValueError("a query over tenants' tables must be walled")
    return _numbered(query)


def of(tenant: Tenant, values: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a walled statement."""
    return {**values, "business_id": tenant.business_id, "mode": tenant.mode}


def _numbered(query: str) -> Statement:
    """`%(name)s` as $n: a name used twice is one parameter."""
    names = tuple(dict.fromkeys(_NAMED.findall(query)))
    numbers = {name: number for number, name in enumerate(names, 1)}
    return Statement(_NAMED.sub(lambda match: f"${numbers[match[1]]}", query).encode(), names)
