"""What there is to see in a ledger at once: read as a dashboard reads it, from `reports`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg

ENTRIES_SHOWN = 8
_CUSTOMERS = """
    SELECT count(*), min(customer_id) FILTER (WHERE status = 'active')
    FROM reports.customers WHERE business_id = %(business_id)s AND mode = %(mode)s
"""
_WALLETS = """
    SELECT currency, sum(balance_minor)::bigint
    FROM reports.wallets WHERE business_id = %(business_id)s AND mode = %(mode)s GROUP BY 1 ORDER BY 1 DESC
"""
_ENTRIES = """
    SELECT created_at, customer_id, cause, is_credit, amount_minor, balance_after_minor, currency, reference
    FROM reports.ledger_entries WHERE business_id = %(business_id)s AND mode = %(mode)s
    ORDER BY created_at DESC, shard, sequence DESC LIMIT %(limit)s
"""
_PAYMENTS = """
    WITH refunded AS (
        SELECT DISTINCT payment_id FROM reports.refunds
        WHERE business_id = %(business_id)s AND mode = %(mode)s AND status = 'succeeded'
    ), disputed AS (
        SELECT DISTINCT payment_id FROM reports.disputes WHERE business_id = %(business_id)s AND mode = %(mode)s
    )
    SELECT CASE
        WHEN disputed.payment_id IS NOT NULL THEN 'Disputed'
        WHEN refunded.payment_id IS NOT NULL THEN 'Refunded'
        WHEN status = 'succeeded' THEN 'Successful'
        WHEN status IN ('failed', 'cancelled') THEN 'Failed'
        ELSE 'Pending' END, count(*)
    FROM reports.payments LEFT JOIN refunded USING (payment_id) LEFT JOIN disputed USING (payment_id)
    WHERE business_id = %(business_id)s AND mode = %(mode)s GROUP BY 1 ORDER BY 2 DESC
"""


class Entry(NamedTuple):
    """As the reports have it."""

    created_at: Any
    customer_id: str
    cause: str
    is_credit: bool
    amount: int
    balance_after: int
    currency: str
    reference: str | None


class FirstLook(NamedTuple):
    """`customer` is an example; "" where there is none."""

    customers: int
    customer: str
    balances: dict[str, int]
    payments: dict[str, int]
    entries: list[Entry]


NOTHING_SEEN = FirstLook(0, "", {}, {}, [])


def first_look(views_dsn: str, business_id: str, mode: str, say: Callable[[str], None]) -> FirstLook:
    """Of one tenant. That it cannot be shown is said, and no reason to stop what runs."""
    tenant = {"business_id": business_id, "mode": mode, "limit": ENTRIES_SHOWN}
    try:
        with psycopg.connect(views_dsn, connect_timeout=5, autocommit=True) as session:
            [(customers, customer)] = session.execute(_CUSTOMERS, tenant).fetchall()
            balances: dict[str, int] = dict(session.execute(_WALLETS, tenant).fetchall())
            payments: dict[str, int] = dict(session.execute(_PAYMENTS, tenant).fetchall())
            entries = [Entry(*row) for row in session.execute(_ENTRIES, tenant).fetchall()]
    except psycopg.Error as error:
        say(f"what is in the ledger cannot be shown: {type(error).__name__}")
        return NOTHING_SEEN
    return FirstLook(customers, customer or "", balances, payments, entries)
