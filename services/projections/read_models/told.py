"""What did upstream tell of its objects? Most events are of wallets: those are looked at once, not once a table."""

from collections.abc import Iterator, Sequence

from services.projections.read_models import disputes, licence_keys, payments, refunds, subscriptions
from services.projections.read_models.event import Event
from services.projections.read_models.statement import Statement

_TABLES = (payments.project, refunds.project, disputes.project, subscriptions.project, licence_keys.project)


def project(events: Sequence[Event]) -> Iterator[Statement]:
    """Of what stands in the streams of upstream's objects."""
    told = [event for event in events if event.fact.CATEGORY != "customer"]
    if told:
        for table in _TABLES:
            yield from table(told)
