"""From a factory's records to events as projections read them, and tables as Python dictionaries."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET

from events.ids import owner_of
from events.recorded import LicenceKeyRecorded
from events.sealing import unseal
from services.projections.chain import Checkpoint, Reading, read
from services.projections.read_models import (
    accounts,
    blocklist,
    customers,
    disputes,
    ledger_entries,
    licence_keys,
    payments,
    refunds,
    subscriptions,
    wallets,
)
from services.projections.read_models.event import Event
from services.reading import Record
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
    return opened(factory.keys, reading)


def opened(keys: Mapping[UUID, bytes], reading: Reading) -> list[Event]:
    """Unsealed; events of forgotten keys stay sealed."""
    events = []
    for event in reading.events:
        key = keys.get(owner_of(event.envelope.tenant, event.envelope.subject))
        if key is None or event.fact.sealed is UNSET:
            events.append(event)
        else:
            fact = unseal(event.fact, key, event.envelope.stream, event.envelope.id)
            events.append(event._replace(fact=fact))
    return events


NEWEST: dict[str, tuple[Callable[[Sequence[Event]], Iterable[msgspec.Struct]], str]] = {
    "payments": (payments.rows, "payment_id"),
    "refunds": (refunds.rows, "refund_id"),
    "disputes": (disputes.rows, "dispute_id"),
    "subscriptions": (subscriptions.rows, "subscription_id"),
    "licence_keys": (licence_keys.rows, "licence_key_id"),
}
"""Tables of which the newest that was told counts, with their keys."""


class Tables:
    """What the SQL does with the rows of a batch, said a second time."""

    def __init__(self) -> None:
        self.customers: dict[tuple[str, str, str], Row] = {}
        self.blocklist: dict[tuple[str, str, str], Row] = {}
        self.wallets: dict[tuple[str, str, str, str], Row] = {}
        self.entries: dict[tuple[int, int], Row] = {}
        self.accounts: dict[tuple[str, ...], int] = {}
        self.newest: dict[str, dict[tuple[str, ...], Row]] = {table: {} for table in NEWEST}
        self.instances: dict[tuple[str, str], set[str]] = {}

    def apply(self, events: Sequence[Event]) -> None:
        for customer in customers.fold(events):
            self._customer(msgspec.structs.asdict(customer))
        for entry in blocklist.fold(events):
            self._blocklist(msgspec.structs.asdict(entry))
        for wallet in wallets.fold(events):
            key = (wallet.business_id, wallet.mode, wallet.customer_id, wallet.currency)
            self.wallets[key] = msgspec.structs.asdict(wallet)
        for moved in ledger_entries.rows(events):
            assert (moved.shard, moved.sequence) not in self.entries
            self.entries[moved.shard, moved.sequence] = msgspec.structs.asdict(moved)
        for posting in accounts.fold(events):
            account: tuple[str, ...] = (
                str(posting.shard),
                posting.business_id,
                posting.mode,
                posting.currency,
                posting.account,
            )
            self.accounts[account] = self.accounts.get(account, 0) + int(posting.added_minor)

        for table, (rows, name) in NEWEST.items():
            for row in map(msgspec.structs.asdict, rows(events)):
                place: tuple[str, ...] = (row["business_id"], row["mode"], row[name], row["customer_id"])
                older = self.newest[table].get(place)
                if older is None or older["stamp"] <= row["stamp"]:
                    self.newest[table][place] = row
        self._instances(events)

    def _instances(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event.fact, LicenceKeyRecorded) and event.fact.personal is not UNSET:
                listed = msgspec.json.decode(msgspec.json.encode(event.fact.personal.foreign)).get(
                    "instances"
                )
                if listed is not None:
                    found = {one["id"] for one in listed if isinstance(one, dict) and "id" in one}
                    self.instances[event.envelope.subject, event.fact.licence_key.licence_key_id] = found

    def _blocklist(self, row: Row) -> None:
        key = (row["business_id"], row["mode"], row["block_id"])
        if row.pop("made"):
            assert key not in self.blocklist
            self.blocklist[key] = row
            return
        said = {name: row[name] for name in ("reason", "unblocked_at") if row[name] is not UNSET}
        self.blocklist[key].update(said)

    def _customer(self, row: Row) -> None:
        key = (row["business_id"], row["mode"], row["customer_id"])
        if row.pop("registered"):
            assert key not in self.customers
            self.customers[key] = {"phone_number": None, "metadata": {}, "preferred_locale": None}
            self.customers[key] |= {"blocked_at": None, "blocklist_entry_id": None, "closed_at": None}
        else:
            del row["created_at"]
        self.customers[key].update({name: value for name, value in row.items() if value is not UNSET})
