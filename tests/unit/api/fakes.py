"""A ledger and its read models in memory, with the contracts of `services.api.ports`."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any, TypeVar

import httpx
from litestar.types import ASGIApp
from msgspec import UNSET

from events.codec import decode_command, decode_reply, encode_command, encode_reply, timestamp
from events.commands import Command
from events.ids import Tenant
from events.replies import Reply
from events.sharding import shard_of
from services.api.app import create_app
from services.api.asking import Asking
from services.api.auth import Authenticator, Caller
from services.api.foreign_ports import Data, Foreign, Instance, Kind, Requested, Told, Transaction, Whole
from services.api.keys import secret_hash
from services.api.limits import limits_of
from services.api.lookups import (
    Counted,
    CustomerLookup,
    Customers,
    Entries,
    EntryLookup,
    Exports,
    FoundCustomer,
    FoundEntry,
)
from services.api.parts import Parts
from services.api.ports import (
    BlocklistFilter,
    BlocklistRow,
    CustomerFilter,
    CustomerRow,
    EntryRow,
    NotHandedOver,
    OutcomeUnknown,
    Page,
    Ticket,
    ViewsUnavailable,
    WalletRow,
)
from services.api.rates import UsdRates
from services.api.webhooks.door import Door
from services.ledger.batches.admission import Asked, Bulk
from services.ledger.batches.batch import Configured
from services.projections.chain import read
from services.reading import Record
from services.settings import Settings
from tests.unit.api.webhook_fakes import FakeDeliveries, FakeEndpoints, FakeTopic
from tests.unit.ledger.deck import SHARDS, Deck
from tests.unit.projections.reading import Row, Tables, opened, start

TENANT = Tenant("bus_one", "test")
OTHER = Tenant("bus_two", "test")
SECRETS = {
    "wl_test_all": Caller("key_all", TENANT, frozenset({"read", "write"}), float("inf")),
    "wl_test_admin": Caller("key_admin", TENANT, frozenset({"admin"}), float("inf")),
    "wl_test_reader": Caller("key_reader", TENANT, frozenset({"read"}), float("inf")),
    "wl_test_writer": Caller("key_writer", TENANT, frozenset({"write"}), float("inf")),
    "wl_test_expired": Caller("key_expired", TENANT, frozenset({"read", "write"}), 1.0),
    "wl_test_other": Caller("key_other", OTHER, frozenset({"read", "write"}), float("inf")),
}

Planned = Reply | NotHandedOver | OutcomeUnknown
Shown = TypeVar("Shown", CustomerRow, WalletRow, EntryRow, BlocklistRow)


class FakeLedger:
    """Implements `ports.Gateway`: the ledger's own core decides, unless a test says what becomes of a command."""

    def __init__(self, settings: Settings) -> None:
        self.shards = settings.shards
        self.deck = Deck(
            Configured(frozenset(settings.currencies), b"secret", frozenset(settings.wallet_rules))
        )
        self.commands: list[Command] = []
        self.records: list[Record] = []
        self.next: Planned | None = None
        self.silent: dict[int, Planned] = {}
        """What becomes of every command of a shard."""
        self._numbers = count(1)

    @property
    def sequences(self) -> list[int]:
        """How far each shard is."""
        return [self.deck.rows[shard].sequence for shard in range(self.shards)]

    def ticket(self) -> Ticket:
        number = f"{next(self._numbers):032x}"
        return Ticket(number, f"0/{number}", timestamp(self.deck.now + 5_000_000))

    async def ask(self, command: Command, shard: int) -> Reply:
        value = encode_command(command)
        self.commands.append(decode_command(value)[0])  # what a worker could not read, fails here
        planned, self.next = self.next or self.silent.get(shard), None
        if isinstance(planned, Exception):
            raise planned
        return planned or self._decided(shard, value)

    def _decided(self, shard: int, value: bytes) -> Reply:
        """A batch of its own, a millisecond after the last one."""
        self.deck.now += 1_000
        asked = self.deck.read(shard, value)
        assert isinstance(asked, Asked | Bulk), asked
        batch = self.deck.play(asked)
        self.records += [Record(event.shard, event.sequence - 1, event.value) for event in batch.events]
        [answer] = batch.answers
        return decode_reply(encode_reply(answer.reply))


class FakeViews:
    """Implements `ports.Queries`: what the projections make of the ledger's events by the time of a read."""

    def __init__(self, ledger: FakeLedger) -> None:
        self._ledger = ledger
        self._tables = Tables()
        self._seen = start(ledger.shards)
        self._applied = 0
        self._stopped = False
        self.away = False
        """Every statement fails."""
        self.empty = False
        """No table has a row."""

    def stop(self) -> None:
        """Show nothing newer from now on."""
        self.tables()
        self._stopped = True

    def tables(self) -> Tables:
        """As they are now. Raises ViewsUnavailable."""
        if self.away:
            raise ViewsUnavailable
        if not self._stopped:
            reading = read(self._seen, self._ledger.records[self._applied :])
            assert not reading.breaks
            self._applied = len(self._ledger.records)
            self._seen |= reading.checkpoints()
            self._tables.apply(opened(self._ledger.deck.keys, reading))
        return Tables() if self.empty else self._tables

    async def customer(self, tenant: Tenant, customer_id: str) -> tuple[int, CustomerRow | None]:
        row = self.tables().customers.get((tenant.business_id, tenant.mode, customer_id))
        return self.sequence(customer_id), None if row is None else _shown(CustomerRow, row)

    async def customers(self, tenant: Tenant, page: Page, where: CustomerFilter) -> list[CustomerRow]:
        rows = [
            _shown(CustomerRow, row)._replace(blocked_at=None, blocklist_entry_id=None)
            for row in reversed(_of(tenant, self.tables().customers))
        ]
        if where.name is not None:
            rows = [row for row in rows if where.name.lower() in row.name.lower()]
        if where.email is not None:
            rows = [row for row in rows if where.email.lower() == row.email.lower()]
        return rows[page.offset : page.offset + page.limit]

    async def wallets(self, tenant: Tenant, customer_id: str) -> tuple[int, datetime | None, list[WalletRow]]:
        sequence, customer = await self.customer(tenant, customer_id)
        rows = _of(tenant, self.tables().wallets, customer_id)
        return sequence, customer and customer.created_at, [_shown(WalletRow, row) for row in rows]

    async def entries(
        self, tenant: Tenant, customer_id: str, page: Page, currency: str | None
    ) -> tuple[int, list[EntryRow] | None]:
        sequence, customer = await self.customer(tenant, customer_id)
        if customer is None:
            return sequence, None
        rows = reversed(_of(tenant, self.tables().entries, customer_id))
        found = [_shown(EntryRow, row) for row in rows if currency in (None, row["currency"])]
        return sequence, found[page.offset : page.offset + page.limit]

    def sequence(self, customer_id: str) -> int:
        """What the rows of this customer are as of."""
        return self._seen[shard_of(customer_id, self._ledger.shards)].sequence


class FakeBlocklist:
    """Implements `ports.Blocklist` beside `FakeViews`."""

    def __init__(self, views: FakeViews) -> None:
        self._views = views

    async def entry(self, tenant: Tenant, block_id: str) -> BlocklistRow | None:
        return next((row for row in self._rows(tenant) if row.block_id == block_id), None)

    async def entries(self, tenant: Tenant, page: Page, where: BlocklistFilter) -> list[BlocklistRow]:
        part = (where.identifier or "").lower()
        rows = [
            row
            for row in reversed(self._rows(tenant))
            if row.unblocked_at is None and part in f"{row.email} {row.customer_id}".lower()
        ]
        return rows[page.offset : page.offset + page.limit]

    async def addressed(self, tenant: Tenant, email: str) -> list[str]:
        rows = _of(tenant, self._views.tables().customers)
        living = [row for row in rows if row["closed_at"] in (None, UNSET)]
        return [row["customer_id"] for row in living if row["email"].lower() == email.lower()][:2]

    def _rows(self, tenant: Tenant) -> list[BlocklistRow]:
        """With what is joined to them."""
        tables, found = self._views.tables(), []
        for row in _of(tenant, tables.blocklist):
            customer = tables.customers[tenant.business_id, tenant.mode, row["customer_id"]]
            sequence = self._views.sequence(row["customer_id"])
            found.append(_shown(BlocklistRow, customer | row | {"sequence": sequence}))
        return found


class FakeVisibility:
    """Implements `ports.Visibility`: says what a test wants to hear, and remembers what it was asked."""

    def __init__(self) -> None:
        self.visible = True
        self.missing: set[int] = set()
        """Shards that are not visible."""
        self.confirmed = True
        self.waits: list[tuple[int, int, float]] = []
        self.owed: list[tuple[int, int]] = []
        self.sequences = [0, 7, 0, 12]

    async def wait(self, shard: int, sequence: int, seconds: float) -> bool:
        self.waits.append((shard, sequence, seconds))
        return self.visible and shard not in self.missing

    async def confirm(self, at_least: Mapping[int, int]) -> bool:
        return self.confirmed

    def owe(self, shard: int, sequence: int) -> None:
        self.owed.append((shard, sequence))

    def reached(self) -> list[int]:
        return self.sequences


class FakeLookups:
    """Implements `lookups.Lookups`: remembers what was asked, answers what a test put there."""

    def __init__(self) -> None:
        self.asked: list[tuple[Tenant, Any]] = []
        self.found = Customers([], None)
        self.entries_found = Entries([], None)
        self.counted: Counted | None = Counted(3, exact=True)

    async def customers(self, tenant: Tenant, lookup: CustomerLookup) -> Customers:
        self.asked.append((tenant, lookup))
        return self.found

    async def customer(self, tenant: Tenant, customer_id: str) -> FoundCustomer | None:
        return next(
            (row for row in self.found.items if (tenant, row.customer_id) == (TENANT, customer_id)), None
        )

    async def customers_total(self, tenant: Tenant, lookup: CustomerLookup) -> Counted | None:
        return self.counted

    async def entries(self, tenant: Tenant, lookup: EntryLookup) -> Entries:
        self.asked.append((tenant, lookup))
        return self.entries_found

    async def entry(self, tenant: Tenant, entry_id: str) -> FoundEntry | None:
        rows = self.entries_found.items
        return next((row for row in rows if (tenant, row.entry_id) == (TENANT, entry_id)), None)

    async def entries_total(self, tenant: Tenant, lookup: EntryLookup) -> Counted | None:
        return self.counted


class FakeExports:
    """Implements `lookups.Exports`."""

    def __init__(self) -> None:
        self.asked: list[tuple[Tenant, EntryLookup]] = []
        self.pieces: list[list[FoundEntry] | Exception] = []
        self.closed = 0

    async def entries(self, tenant: Tenant, lookup: EntryLookup) -> AsyncGenerator[list[FoundEntry], None]:
        self.asked.append((tenant, lookup))
        try:
            for piece in self.pieces:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            self.closed += 1


class FakeForeign:
    """Implements `foreign_ports.Foreign`: nothing was told, unless a test puts it there."""

    def __init__(self) -> None:
        self.asked: list[tuple[Tenant, Any]] = []
        self.transactions_found: list[Transaction] = []
        self.requests_found: list[Requested] = []
        self.told: dict[tuple[Tenant, str], Told] = {}

    async def one(self, tenant: Tenant, kind: Kind, identifier: str) -> tuple[int, Told] | None:
        found = self.told.get((tenant, identifier))
        return None if found is None else (1, found)

    async def page(self, tenant: Tenant, kind: Kind, page: Page, where: Data) -> list[Told]:
        self.asked.append((tenant, (kind, page, where)))
        return [
            told
            for (owner, _), told in reversed(self.told.items())
            if owner == tenant
            and kind.key in told.known
            and told.person.customer_id == where.get("customer_id")
            and told.row["status"] not in where.get("status_not", ())
        ][: page.limit]

    async def payment(self, tenant: Tenant, payment_id: str) -> Whole | None:
        return None

    async def instance(self, tenant: Tenant, instance_id: str) -> tuple[int, Instance] | None:
        return None

    async def instances(self, tenant: Tenant, page: Page, licence_key_id: str | None) -> list[Instance]:
        self.asked.append((tenant, (page, licence_key_id)))
        return []

    async def transactions(
        self, tenant: Tenant, customer_id: str, limit: int, after: tuple[datetime, str] | None
    ) -> list[Transaction]:
        self.asked.append((tenant, (customer_id, limit, after)))
        return self.transactions_found[: limit + 1]

    async def requests(
        self, tenant: Tenant, customer_id: str, limit: int, after: tuple[datetime, str] | None
    ) -> list[Requested]:
        self.asked.append((tenant, (customer_id, limit, after)))
        return self.requests_found[: limit + 1]


class FakeReadiness:
    """Implements `health.Readiness`."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    async def problems(self) -> dict[str, str]:
        return self.found


@dataclass
class Api:
    """The application over fakes."""

    ledger: FakeLedger
    views: FakeViews
    lookups: FakeLookups
    exports: FakeExports
    foreign: FakeForeign
    visibility: FakeVisibility
    readiness: FakeReadiness
    endpoints: FakeEndpoints
    deliveries: FakeDeliveries
    topic: FakeTopic
    app: ASGIApp
    keys: dict[bytes, Caller] = field(default_factory=dict)

    def client(self, secret: str | None = "wl_test_all") -> httpx.AsyncClient:
        headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app, raise_app_exceptions=False),  # type: ignore[arg-type]
            base_url="http://api.test",
            headers=headers,
        )


def make_api(source: Exports | None = None, foreign: Foreign | None = None, **changes: Any) -> Api:
    """An api with test settings, changed where a test says so; exports read from `source` if there is one."""
    settings = Settings(shards=SHARDS, **changes)
    ledger, limits = FakeLedger(settings), limits_of(settings)
    views, visibility, readiness = FakeViews(ledger), FakeVisibility(), FakeReadiness()
    endpoints, deliveries, topic = FakeEndpoints(TENANT), FakeDeliveries(), FakeTopic()
    lookups, exports, told = FakeLookups(), FakeExports(), FakeForeign()
    keys = {secret_hash(secret): caller for secret, caller in SECRETS.items()}

    async def lookup(digest: bytes) -> Caller | None:
        return keys.get(digest)

    parts = Parts(
        settings=settings,
        auth=Authenticator(lookup, limits),
        asking=Asking(ledger, visibility, settings.shards, settings.read_wait_seconds),
        queries=views,
        blocklist=FakeBlocklist(views),
        lookups=lookups,
        exports=source or exports,
        foreign=foreign or told,
        visibility=visibility,
        rates=UsdRates(settings),
        readiness=readiness,
        door=Door(endpoints.lookup, deliveries, topic, limits),
    )
    app = create_app(parts)
    return Api(
        ledger, views, lookups, exports, told, visibility, readiness, endpoints, deliveries, topic, app, keys
    )


def _of(tenant: Tenant, table: Mapping[Any, Row], customer_id: str | None = None) -> list[Row]:
    """A tenant's rows, or one customer's of them, oldest first."""
    return [
        row
        for row in table.values()
        if (row["business_id"], row["mode"]) == (tenant.business_id, tenant.mode)
        and customer_id in (None, row["customer_id"])
    ]


def _shown(kind: type[Shown], row: Row) -> Shown:
    """As a statement of the api returns it."""
    values: dict[str, Any] = {
        name: row[name] if name in row else row[f"{name}_minor"] for name in kind._fields
    }
    for name, value in values.items():
        if value is UNSET:
            values[name] = None
        elif name.endswith("_at") and value is not None:
            values[name] = datetime.fromisoformat(value)
    return kind(**values)
