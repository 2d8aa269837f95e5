"""Do the books balance? What each account holds by tenant and currency; together always zero."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from msgspec import Struct

from services.projections.read_models.event import Event
from services.projections.read_models.movement import movements
from services.projections.read_models.statement import Statement, statement

WALLETS = "wallets"
"""The account that all wallets of a tenant and currency make up."""


class Posting(Struct, kw_only=True):
    """What a batch adds to an account. Per shard, so that no two projectors wait for one row.

    The sum is text: it may leave the range in which JSON readers keep integers exact.
    """

    shard: int
    business_id: str
    mode: str
    currency: str
    account: str
    added_minor: str


ADD = """
    INSERT INTO accounts AS old (shard, business_id, mode, currency, account, balance_minor)
    SELECT shard, business_id, mode, currency, account, added_minor
    FROM json_to_recordset(%s::json) AS new (
        shard int, business_id text, mode text, currency text, account text, added_minor numeric)
    ON CONFLICT (shard, business_id, mode, currency, account) DO UPDATE SET
        balance_minor = old.balance_minor + excluded.balance_minor
"""


def project(events: Sequence[Event]) -> Iterator[Statement]:
    if postings := fold(events):
        yield statement(ADD, postings)


def fold(events: Sequence[Event]) -> list[Posting]:
    """Both sides of every movement, added up per account."""
    sums: defaultdict[tuple[int, str, str, str, str], int] = defaultdict(int)
    for event, fact, sign in movements(events):
        book = (event.shard, event.envelope.businessid, event.envelope.mode, fact.currency)
        sums[(*book, WALLETS)] += sign * fact.amount
        sums[(*book, fact.counter_account)] -= sign * fact.amount
    return [
        Posting(
            shard=shard,
            business_id=business_id,
            mode=mode,
            currency=currency,
            account=account,
            added_minor=str(added),
        )
        for (shard, business_id, mode, currency, account), added in sums.items()
    ]
