"""From a factory's records to events as projections read them, and tables as Python dictionaries."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from events.sealing import unseal
from services.projections import accounts, customers, ledger_entries, wallets
from services.projections.chain import Checkpoint, Reading, owner_of, read
from services.projections.event import Event, Record
from tests import factories

Row = dict[str, Any]


def records_of(made: Iterable[factories.Record]) -> list[Record]:
    """As Kafka would deliver them, each partition numbered from 0."""
    return [Record(record.shard, record.sequence - 1, record.value) for record in made]


def start(shards: int) -> dict[int, Checkpoint]:
    return {shard: Checkpoint(0, b"", 0) for shard in range(shards)}


def events_of(factory: factories.EventFactory) -> list[Event]:
    """Everything the factory made, in clear."""
    reading = read(start(factory.shards), records_of(factory.records))
    assert not reading.breaks
    return opened(factory, reading)


def opened(factory: factories.EventFactory, reading: Reading) -> list[Event]:
    """Unsealed with the factory's keys; events of forgotten keys stay sealed."""
    events = []
    for event in reading.events:
        key = factory.keys.get(owner_of(event.envelope.tenant, event.envelope.stream))
        if key is None or event.fact.sealed is UNSET:
            events.append(event)
        else:
            fact = unseal(event.fact, key, event.envelope.stream, event.envelope.id)
            events.append(event._replace(fact=fact))
    return events


class Tables:
    """What the SQL does with the rows of a batch, said a second time."""

    def __init__(self) -> None:
        self.customers: dict[tuple[str, str, str], Row] = {}
        self.wallets: dict[tuple[str, str, str, str], Row] = {}
        self.entries: dict[tuple[int, int], Row] = {}
        self.accounts: dict[tuple[str, ...], int] = {}

    def apply(self, events: Sequence[Event]) -> None:
        for customer in customers.fold(events):
            self._customer(msgspec.structs.asdict(customer))
        for wallet in wallets.fold(events):
            key = (wallet.business_id, wallet.mode, wallet.customer_id, wallet.currency)
            self.wallets[key] = msgspec.structs.asdict(wallet)
        for entry in ledger_entries.rows(events):
            assert (entry.shard, entry.sequence) not in self.entries
            self.entries[entry.shard, entry.sequence] = msgspec.structs.asdict(entry)
        for posting in accounts.fold(events):
            account = (
                str(posting.shard),
                posting.business_id,
                posting.mode,
                posting.currency,
                posting.account,
            )
            self.accounts[account] = self.accounts.get(account, 0) + int(posting.added_minor)

    def _customer(self, row: Row) -> None:
        key = (row["business_id"], row["mode"], row["customer_id"])
        if row.pop("registered"):
            assert key not in self.customers
            self.customers[key] = {"phone_number": None, "metadata": {}, "preferred_locale": None}
        else:
            del row["created_at"]
        self.customers[key].update({name: value for name, value in row.items() if value is not UNSET})
