"""What there is to see in a ledger at once: read as a dashboard reads it, from `reports`."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg

from services.api.foreign_ports import Transaction
from services.api.tab import status

ENTRIES_SHOWN = 8
NO_TIME = datetime.min.replace(tzinfo=UTC)
_CUSTOMERS = """
    SELECT count(*) FROM reports.customers WHERE business_id = %(business_id)s AND mode = %(mode)s
"""
_EXAMPLE = """
    SELECT customer_id FROM reports.customers LEFT JOIN reports.wallets w USING (business_id, mode, customer_id)
    WHERE business_id = %(business_id)s AND mode = %(mode)s AND status = 'active'
    ORDER BY w.updated_at DESC NULLS LAST, customer_id LIMIT 1
"""
_WALLETS = """
    SELECT currency, sum(balance_minor)::bigint
    FROM reports.wallets WHERE business_id = %(business_id)s AND mode = %(mode)s GROUP BY 1 ORDER BY 1 DESC
"""
_ENTRIES = """
    SELECT created_at, cause, is_credit, amount_minor, balance_after_minor, currency, reference
    FROM reports.ledger_entries
    WHERE business_id = %(business_id)s AND mode = %(mode)s AND customer_id = %(customer_id)s
    ORDER BY sequence DESC LIMIT %(limit)s
"""
_PAYMENTS = """
    WITH payment AS (
        SELECT * FROM reports.payments WHERE business_id = %(business_id)s AND mode = %(mode)s
    ), refunded AS (
        SELECT p.customer_id, p.payment_id, count(*) AS refunds, sum(coalesce(r.amount_minor, p.total_amount_minor))
            FILTER (WHERE r.currency IS NULL OR r.currency = p.currency) AS refunded_minor
        FROM payment p JOIN reports.refunds r USING (business_id, mode, customer_id, payment_id)
        WHERE r.status = 'succeeded' GROUP BY 1, 2
    ), disputed AS (
        SELECT DISTINCT ON (customer_id, payment_id) customer_id, payment_id, status AS dispute
        FROM reports.disputes WHERE business_id = %(business_id)s AND mode = %(mode)s
        ORDER BY customer_id, payment_id, updated_at DESC
    )
    SELECT status, refunds IS NOT NULL, coalesce(refunded_minor, 0) >= total_amount_minor, dispute, count(*)
    FROM payment LEFT JOIN refunded USING (customer_id, payment_id) LEFT JOIN disputed USING (customer_id, payment_id)
    GROUP BY 1, 2, 3, 4
"""


class Entry(NamedTuple):
    """As the reports have it."""

    created_at: Any
    cause: str
    is_credit: bool
    amount: int
    balance_after: int
    currency: str
    reference: str | None


class FirstLook(NamedTuple):
    """`customer` is an example, whose `entries` they are: who moved money last; "" where nobody is active."""

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
            [(customers,)] = session.execute(_CUSTOMERS, tenant).fetchall()
            customer = next((found for (found,) in session.execute(_EXAMPLE, tenant)), "")
            balances: dict[str, int] = dict(session.execute(_WALLETS, tenant).fetchall())
            payments = _as_on_the_tab(session.execute(_PAYMENTS, tenant).fetchall())
            of_one = {**tenant, "customer_id": customer}
            entries = [Entry(*row) for row in session.execute(_ENTRIES, of_one).fetchall()]
    except psycopg.Error as error:
        say(f"what is in the ledger cannot be shown: {type(error).__name__}")
        return NOTHING_SEEN
    return FirstLook(customers, customer, balances, dict(payments.most_common()), entries)


def _as_on_the_tab(rows: list[tuple[Any, ...]]) -> Counter[str]:
    """How many payments have which status there."""
    found = Counter[str]()
    for told, refunded, wholly, dispute, count in rows:
        one = Transaction("", NO_TIME, told, "", 1, int(wholly), int(refunded), dispute, {})
        found[status(one)] += count
    return found
