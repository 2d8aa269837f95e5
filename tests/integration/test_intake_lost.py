"""The database of the read models was lost: what operations.md gives back to intake is what intake had."""

from collections.abc import Callable

import psycopg

from tests.docs.documents import ROOT, blocks
from tests.integration.read_models import business, make_views
from tests.unit.projections.reading import records_of


def test_intake_gets_back_what_it_remembered(database: Callable[[str], str]) -> None:
    views = make_views(database)
    views.projector().apply(records_of(business(views.factory()).records))
    [again] = [
        block.text
        for block in blocks("sql")
        if block.document == ROOT / "docs/operations.md" and "intake_payments" in block.text
    ]
    with psycopg.connect(views.dsn, autocommit=True) as session:
        for _ in range(2):  # it may be run again
            session.execute(again.encode())
        payments = dict[str, str](
            session.execute("SELECT (business_id, mode, payment_id)::text, customer_id FROM intake_payments")
        )
        told = session.execute(
            "SELECT (business_id, mode, payment_id)::text, customer_id FROM payments"
        ).fetchall()
        published = dict[int, int](session.execute("SELECT shard, next_offset FROM intake_publications"))
        checkpoints = dict[int, int](session.execute("SELECT shard, next_offset FROM checkpoints"))
    assert payments
    assert payments.keys() == {name for name, _ in told}
    assert set(payments.items()) <= set(told)
    assert published == checkpoints
    assert any(published.values())
