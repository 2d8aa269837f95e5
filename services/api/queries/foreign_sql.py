"""The SQL over what upstream told. A list takes its page first, and joins to that only."""

from collections.abc import Mapping
from functools import lru_cache

from services.api.foreign_ports import PAYMENTS, Kind
from services.api.queries.wall import Statement, walled

PARTS_SHOWN_MAX = 100
"""Refunds, and disputes, that are shown with their payment."""

_MINE = "o.business_id = %(business_id)s AND o.mode = %(mode)s"
_HEAD = "o.customer_id, c.name, c.email, c.phone_number, c.metadata, o.created_at, o.updated_at, o.known, o.object"
_CUSTOMER = " LEFT JOIN customers c ON c.business_id = o.business_id AND c.mode = o.mode AND c.customer_id = o.customer_id"
# What was told of two customers has two rows, and belongs to whom it was told of last.
_LAST_TOLD = """
    AND NOT EXISTS (SELECT FROM {table} n WHERE n.business_id = o.business_id AND n.mode = o.mode AND n.{key} = o.{key}
        AND (n.stamp, n.customer_id) > (o.stamp, o.customer_id))"""
# As the ledger counts it: a refund without an amount in the payment's currency is of all of the payment.
_PART = """coalesce(CASE WHEN coalesce(r.currency, o.currency) = o.currency THEN r.amount_minor END, o.total_amount_minor)"""
_SUM = f"least(coalesce(sum({_PART}) FILTER (WHERE {{which}}), 0), 9007199254740991)"
_REFUNDED = f"""
    LEFT JOIN LATERAL (
        SELECT {_SUM.format(which="r.status = 'succeeded'")}::bigint AS refunded,
            {_SUM.format(which="r.status <> 'failed'")}::bigint AS taken,
            count(*) FILTER (WHERE r.status = 'succeeded') AS succeeded
        FROM refunds r
        WHERE r.business_id = o.business_id AND r.mode = o.mode AND r.payment_id = o.payment_id
            AND r.customer_id = o.customer_id
    ) s ON true
    LEFT JOIN LATERAL (
        SELECT d.status FROM disputes d
        WHERE d.business_id = o.business_id AND d.mode = o.mode AND d.payment_id = o.payment_id
            AND d.customer_id = o.customer_id
        ORDER BY d.stamp DESC LIMIT 1
    ) d ON true"""
_OF_PAYMENT = """
    LEFT JOIN payments p ON p.business_id = o.business_id AND p.mode = o.mode AND p.payment_id = o.payment_id
        AND p.customer_id = o.customer_id"""
_PAYMENT = {
    "payment_id": "o.payment_id",
    "payment_total": "p.total_amount_minor",
    "payment_currency": "p.currency",
    "brand_id": "p.brand_id",
    "provider": "p.known ->> 'payment_provider'",
    "status": "o.status",
    "amount": "o.amount_minor",
    "currency": "o.currency",
}

ROWS: Mapping[str, Mapping[str, str]] = {
    "payments": {
        "status": "o.status",
        "currency": "o.currency",
        "total_amount": "o.total_amount_minor",
        "brand_id": "o.brand_id",
        "subscription_id": "o.subscription_id",
        "refunded": "s.refunded",
        "taken": "s.taken",
        "succeeded": "s.succeeded",
        "disputed": "d.status",
    },
    "refunds": _PAYMENT,
    "disputes": _PAYMENT | {"stage": "o.stage"},
    "subscriptions": {"status": "o.status", "brand_id": "o.brand_id"},
    "licence_keys": {"status": "o.status", "source": "o.source", "instances": "i.number"},
}
"""What each kind's `row` holds, and where it is from."""

_JOINS = {
    "payments": _REFUNDED,
    "refunds": _OF_PAYMENT,
    "disputes": _OF_PAYMENT,
    "subscriptions": "",
    "licence_keys": """
    LEFT JOIN LATERAL (
        SELECT count(*) AS number FROM licence_key_instances i
        WHERE i.business_id = o.business_id AND i.mode = o.mode AND i.licence_key_id = o.licence_key_id
            AND i.customer_id = o.customer_id
    ) i ON true""",
}

_WHERE = {
    "created_at_gte": "o.created_at >= %(created_at_gte)s",
    "created_at_lte": "o.created_at <= %(created_at_lte)s",
    "product_id": "o.product_id = %(product_id)s",
    "status_not": "o.status <> ALL (%(status_not)s)",
}
_WHERE_OF = {
    ("payments", "product_id"): "o.product_ids @> ARRAY[%(product_id)s]",
    ("refunds", "subscription_id"): """o.payment_id = ANY (ARRAY (SELECT p.payment_id FROM payments p
        WHERE p.business_id = %(business_id)s AND p.mode = %(mode)s AND p.subscription_id = %(subscription_id)s))""",
}


@lru_cache(maxsize=512)
def page_of(kind: Kind, names: tuple[str, ...]) -> Statement:
    """A page of a kind, filtered by these."""
    conditions = "".join(f" AND {_condition(kind, name)}" for name in names)
    page = f"""
        SELECT o.* FROM {kind.table} o WHERE {_MINE}{conditions}{_LAST_TOLD.format(table=kind.table, key=kind.key)}
        ORDER BY o.created_at DESC, o.{kind.key} DESC LIMIT %(limit)s OFFSET %(offset)s"""
    return walled(
        f"SELECT {_columns(kind)} FROM ({page}) o{_CUSTOMER}{_JOINS[kind.table]} "
        f"ORDER BY o.created_at DESC, o.{kind.key} DESC"
    )


def _condition(kind: Kind, name: str) -> str:
    own = _WHERE_OF.get((kind.table, name)) or _WHERE.get(name)
    return own or f"o.{name} = %({name})s"


def _columns(kind: Kind) -> str:
    return f"{_HEAD}, {', '.join(ROWS[kind.table].values())}"


@lru_cache(maxsize=16)
def one_of(kind: Kind) -> Statement:
    """The newest that was told of one object, and what it is as of."""
    return walled(
        f"SELECT p_.sequence, {_columns(kind)} FROM {kind.table} o JOIN checkpoints p_ ON p_.shard = o.shard"
        f"{_CUSTOMER}{_JOINS[kind.table]} WHERE {_MINE} AND o.{kind.key} = %(id)s "
        "ORDER BY o.stamp DESC, o.customer_id DESC LIMIT 1"
    )


def _parts(table: str, key: str, columns: str) -> str:
    """Of a payment, as one value."""
    return f"""
        (SELECT jsonb_agg(jsonb_build_array(x.created_at, x.known, x.object, x.status, x.amount_minor, x.currency
            {columns}) ORDER BY x.created_at DESC, x.{key} DESC)
         FROM (SELECT * FROM {table} x WHERE x.business_id = o.business_id AND x.mode = o.mode
                AND x.payment_id = o.payment_id AND x.customer_id = o.customer_id
                ORDER BY x.created_at DESC, x.{key} DESC LIMIT {PARTS_SHOWN_MAX}) x)"""


def _whole() -> Statement:
    parts = _parts("refunds", "refund_id", "") + ", " + _parts("disputes", "dispute_id", ", x.stage")
    return walled(
        f"SELECT p_.sequence, {_columns(PAYMENTS)}, {parts} FROM payments o JOIN checkpoints p_ ON p_.shard = o.shard"
        f"{_CUSTOMER}{_REFUNDED} WHERE {_MINE} AND o.payment_id = %(id)s ORDER BY o.stamp DESC, o.customer_id DESC LIMIT 1"
    )


WHOLE = _whole()
"""A payment with its refunds and disputes."""

_INSTANCE = "i.instance_id, i.licence_key_id, i.customer_id, i.name, i.created_at"
# With its key, which says whose it is.
_WITH_KEY = """licence_key_instances i JOIN licence_keys o ON o.business_id = i.business_id AND o.mode = i.mode
    AND o.licence_key_id = i.licence_key_id AND o.customer_id = i.customer_id"""
_OF_LAST_TOLD = f"{_MINE}{_LAST_TOLD.format(table='licence_keys', key='licence_key_id')}"
INSTANCE = walled(
    f"SELECT p_.sequence, {_INSTANCE} FROM {_WITH_KEY} JOIN checkpoints p_ ON p_.shard = i.shard "
    f"WHERE {_OF_LAST_TOLD} AND i.instance_id = %(id)s ORDER BY i.created_at DESC, i.licence_key_id LIMIT 1"
)
_INSTANCES = "ORDER BY i.created_at DESC, i.instance_id DESC LIMIT %(limit)s OFFSET %(offset)s"
INSTANCES = walled(f"SELECT {_INSTANCE} FROM {_WITH_KEY} WHERE {_OF_LAST_TOLD} {_INSTANCES}")
INSTANCES_OF_KEY = walled(
    f"SELECT {_INSTANCE} FROM {_WITH_KEY} WHERE {_OF_LAST_TOLD} AND i.licence_key_id = %(licence_key_id)s {_INSTANCES}"
)


def _transactions(after: str) -> Statement:
    page = f"""
        SELECT o.* FROM payments o WHERE {_MINE} AND o.customer_id = %(customer_id)s{after}
        {_LAST_TOLD.format(table="payments", key="payment_id")}
        ORDER BY o.created_at DESC, o.payment_id DESC LIMIT %(limit)s"""
    return walled(
        "SELECT o.payment_id, o.created_at, o.status, o.currency, o.total_amount_minor, s.refunded, s.succeeded, "
        f"d.status, o.known FROM ({page}) o{_REFUNDED} ORDER BY o.created_at DESC, o.payment_id DESC"
    )


TRANSACTIONS = _transactions("")
TRANSACTIONS_AFTER = _transactions(
    " AND (o.created_at, o.payment_id) < (%(after_created_at)s, %(after_payment_id)s)"
)


def _requests(after: str) -> Statement:
    return walled(
        "SELECT o.request_id, o.kind, o.status, o.object_id, o.currency, o.amount_minor, o.created_at, o.updated_at "
        f"FROM requests o WHERE {_MINE} AND o.customer_id = %(customer_id)s{after} "
        "ORDER BY o.created_at DESC, o.request_id DESC LIMIT %(limit)s"
    )


REQUESTS = _requests("")
REQUESTS_AFTER = _requests(" AND (o.created_at, o.request_id) < (%(after_created_at)s, %(after_request_id)s)")
