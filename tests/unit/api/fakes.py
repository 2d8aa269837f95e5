"""A ledger and its read models in memory, with the contracts of `services.api.ports`."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any

import httpx
from litestar.types import ASGIApp
from msgspec import UNSET, structs

from events.codec import decode_command, decode_reply, encode_ask, encode_command, encode_reply, timestamp
from events.commands import (
    BlockCustomer,
    ChangeProfile,
    CloseCustomer,
    Command,
    CreditWallet,
    DebitWallet,
    EnterInBulk,
    RegisterCustomer,
    UnblockCustomer,
)
from events.facts import Cause, Refusal
from events.ids import Tenant, derived, entry_id, parse_position
from events.replies import Outcome, Reply
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
from services.api.webhooks import Door
from services.settings import Settings
from tests.unit.api.webhook_fakes import FakeDeliveries, FakeEndpoints, FakeTopic

TENANT = Tenant("bus_one", "test")
OTHER = Tenant("bus_two", "test")
SECRETS = {
    "wl_test_all": Caller("key_all", TENANT, frozenset({"read", "write"}), float("inf")),
    "wl_test_reader": Caller("key_reader", TENANT, frozenset({"read"}), float("inf")),
    "wl_test_writer": Caller("key_writer", TENANT, frozenset({"write"}), float("inf")),
    "wl_test_expired": Caller("key_expired", TENANT, frozenset({"read", "write"}), 1.0),
    "wl_test_other": Caller("key_other", OTHER, frozenset({"read", "write"}), float("inf")),
}
START_MICROS = 1_790_000_000_000_000

Who = tuple[Tenant, str]


class FakeLedger:
    """Implements `ports.Gateway`: decides at once, unless a test says what becomes of the next command."""

    def __init__(self, shards: int) -> None:
        self.shards = shards
        self.commands: list[Command] = []
        self.next: Reply | NotHandedOver | OutcomeUnknown | None = None
        self.silent: dict[int, Reply | NotHandedOver | OutcomeUnknown] = {}
        """What becomes of every command of a shard."""
        self.customers: dict[Who, CustomerRow] = {}
        self.balances: dict[tuple[Tenant, str, str], int] = {}
        self.entries: dict[Who, list[EntryRow]] = {}
        self.blocks: dict[tuple[Tenant, str], BlocklistRow] = {}
        self.closed: set[Who] = set()
        self.sequences = [0] * shards
        self._receipts: dict[tuple[Who, str], tuple[bytes, Reply]] = {}
        self._numbers = count(1)

    def ticket(self) -> Ticket:
        number = f"{next(self._numbers):032x}"
        return Ticket(number, f"0/{number}", timestamp(START_MICROS + 5_000_000))

    async def ask(self, command: Command, shard: int) -> Reply:
        decoded, asked = decode_command(encode_command(command))  # what a worker could not read, fails here
        assert shard == shard_of(decoded.subject, self.shards)
        self.commands.append(decoded)
        if self.next is not None:
            planned, self.next = self.next, None
            if isinstance(planned, Exception):
                raise planned
            return planned
        if shard in self.silent:
            planned = self.silent[shard]
            if isinstance(planned, Exception):
                raise planned
            return planned
        if isinstance(asked, EnterInBulk):
            return self._many(decoded, asked, shard)
        return self._once(decoded, asked, shard)

    def _many(self, command: Command, bulk: EnterInBulk, shard: int) -> Reply:
        """Each by itself: deciding together is the ledger's."""
        entries = []
        for place, entry in enumerate(bulk.entries):
            assert shard == shard_of(entry.customer_id, self.shards)
            own = structs.replace(
                command,
                id=f"{command.id}.{place}",
                subject=entry.customer_id,
                idempotencykey=entry.idempotency_key,
                data=encode_ask(entry.ask),
            )
            entries.append(self._once(own, entry.ask, shard))
        positions = [reply.position for reply in entries if reply.position]
        highest = max(positions, key=parse_position, default="")
        return Reply(correlation=command.id, outcome=Outcome.APPLIED, position=highest, entries=entries)

    def _once(self, decoded: Command, asked: Any, shard: int) -> Reply:
        who = (decoded.tenant, decoded.subject)
        key = decoded.id if decoded.idempotencykey is UNSET else decoded.idempotencykey
        if (receipt := self._receipts.get((who, key))) is not None:
            same = receipt[0] == bytes(decoded.data)
            replay = _changed(receipt[1], correlation=decoded.id, replayed=True)
            return replay if same else Reply(correlation=decoded.id, outcome=Outcome.KEY_REUSED)
        reply = decode_reply(encode_reply(self._decide(decoded, asked, shard)))
        self._receipts[(who, key)] = (bytes(decoded.data), reply)
        return reply

    def _decide(self, command: Command, asked: Any, shard: int) -> Reply:
        who = (command.tenant, command.subject)
        self.sequences[shard] += 1
        moment = START_MICROS + sum(self.sequences) * 1_000
        facts: dict[str, Any] = {
            "correlation": command.id,
            "outcome": Outcome.APPLIED,
            "position": f"{shard}:{self.sequences[shard]}",
            "time": timestamp(moment),
        }
        if isinstance(asked, RegisterCustomer):
            self.customers[who] = _customer(command.subject, asked, facts["time"])
            return Reply(**facts, registered=facts["time"])
        known = self.customers.get(who)
        if known is None:
            return Reply(**facts | {"outcome": Outcome.REFUSED}, code=Refusal.NOT_FOUND)
        registered = timestamp(int(known.created_at.timestamp() * 1e6))
        if who in self.closed:
            return Reply(**facts | {"outcome": Outcome.REFUSED}, code=Refusal.CUSTOMER_CLOSED)
        if isinstance(asked, BlockCustomer | UnblockCustomer | CloseCustomer):
            return self._change_status(who, known, asked, facts)
        if isinstance(asked, ChangeProfile):
            self.customers[who] = _altered(known, asked)
            return Reply(**facts, registered=registered)
        return self._move(who, asked, facts, registered)

    def _change_status(
        self,
        who: Who,
        known: CustomerRow,
        asked: BlockCustomer | UnblockCustomer | CloseCustomer,
        facts: dict[str, Any],
    ) -> Reply:
        reason = None if asked.reason is UNSET else asked.reason
        now = datetime.fromisoformat(facts["time"])
        if isinstance(asked, CloseCustomer):
            if any(held for wallet, held in self.balances.items() if wallet[:2] == who):
                return Reply(**facts | {"outcome": Outcome.REFUSED}, code=Refusal.WALLET_NOT_EMPTY)
            self.closed.add(who)
            return Reply(**facts)
        block = known.blocklist_entry_id
        if isinstance(asked, UnblockCustomer):
            if block is not None and asked.block_id in (UNSET, block):
                row = self.blocks[who[0], block]
                self.blocks[who[0], block] = row._replace(unblocked_at=now)
                self.customers[who] = known._replace(blocked_at=None, blocklist_entry_id=None)
            return Reply(**facts)
        if block is None:
            block = derived("blk_", facts["position"])
            named = who[1] if asked.identifier is UNSET else asked.identifier
            self.blocks[who[0], block] = BlocklistRow(
                0, block, who[1], known.name, known.email, named, reason, now, None
            )
            self.customers[who] = known._replace(blocked_at=now, blocklist_entry_id=block)
        elif reason is not None:
            self.blocks[who[0], block] = self.blocks[who[0], block]._replace(reason=reason)
        blocked = timestamp(int(self.blocks[who[0], block].created_at.timestamp() * 1e6))
        return Reply(**facts, block_id=block, blocked=blocked)

    def _move(
        self, who: Who, asked: CreditWallet | DebitWallet, facts: dict[str, Any], registered: str
    ) -> Reply:
        wallet = (*who, asked.currency)
        before = self.balances.get(wallet, 0)
        if isinstance(asked, DebitWallet) and self.customers[who].blocked_at is not None:
            return Reply(**facts | {"outcome": Outcome.REFUSED}, code=Refusal.CUSTOMER_BLOCKED)
        after = before + asked.amount if isinstance(asked, CreditWallet) else before - asked.amount
        if after < 0:
            refused = facts | {"outcome": Outcome.REFUSED, "balance_before": before}
            return Reply(**refused, code=Refusal.INSUFFICIENT_WALLET_FUNDS)
        self.balances[wallet] = after
        row = EntryRow(
            entry_id=entry_id(facts["position"].encode()),
            currency=asked.currency,
            is_credit=isinstance(asked, CreditWallet),
            amount=asked.amount,
            balance_before=before,
            balance_after=after,
            cause=Cause.ADJUSTMENT,
            reference=None,
            reason=None if asked.reason is UNSET else asked.reason,
            created_at=datetime.fromisoformat(facts["time"]),
        )
        self.entries.setdefault(who, []).insert(0, row)
        money: dict[str, Any] = {"currency": asked.currency, "amount": asked.amount, "balance_before": before}
        return Reply(**facts, **money, balance_after=after, entry_id=row.entry_id, registered=registered)


class FakeViews:
    """Implements `ports.Queries` over what the ledger holds; `away` makes every statement fail."""

    def __init__(self, ledger: FakeLedger) -> None:
        self._ledger = ledger
        self.away = False
        self.empty = False

    async def customer(self, tenant: Tenant, customer_id: str) -> tuple[int, CustomerRow | None]:
        self.check()
        return self.sequence(customer_id), self.customers_by_owner().get((tenant, customer_id))

    async def customers(self, tenant: Tenant, page: Page, where: CustomerFilter) -> list[CustomerRow]:
        self.check()
        rows = [
            row._replace(blocked_at=None, blocklist_entry_id=None)
            for (owner, _), row in reversed(self.customers_by_owner().items())
            if owner == tenant
        ]
        if where.name is not None:
            rows = [row for row in rows if where.name.lower() in row.name.lower()]
        if where.email is not None:
            rows = [row for row in rows if where.email.lower() == row.email.lower()]
        return rows[page.offset : page.offset + page.limit]

    async def wallets(self, tenant: Tenant, customer_id: str) -> tuple[int, datetime | None, list[WalletRow]]:
        self.check()
        row = self.customers_by_owner().get((tenant, customer_id))
        if row is None:
            return self.sequence(customer_id), None, []
        wallets = [
            WalletRow(currency, balance, row.created_at)
            for (owner, owned_by, currency), balance in self._ledger.balances.items()
            if (owner, owned_by) == (tenant, customer_id)
        ]
        return self.sequence(customer_id), row.created_at, wallets

    async def entries(
        self, tenant: Tenant, customer_id: str, page: Page, currency: str | None
    ) -> tuple[int, list[EntryRow] | None]:
        self.check()
        if (tenant, customer_id) not in self.customers_by_owner():
            return self.sequence(customer_id), None
        rows = self._ledger.entries.get((tenant, customer_id), [])
        found = [row for row in rows if currency in (None, row.currency)]
        return self.sequence(customer_id), found[page.offset : page.offset + page.limit]

    def customers_by_owner(self) -> dict[Who, CustomerRow]:
        return {} if self.empty else self._ledger.customers

    def sequence(self, customer_id: str) -> int:
        return self._ledger.sequences[shard_of(customer_id, self._ledger.shards)]

    def check(self) -> None:
        if self.away:
            raise ViewsUnavailable


class FakeBlocklist:
    """Implements `ports.Blocklist` beside `FakeViews`."""

    def __init__(self, ledger: FakeLedger, views: FakeViews) -> None:
        self._ledger = ledger
        self._views = views

    async def entry(self, tenant: Tenant, block_id: str) -> BlocklistRow | None:
        self._views.check()
        row = None if self._views.empty else self._ledger.blocks.get((tenant, block_id))
        return row and row._replace(sequence=self._views.sequence(row.customer_id))

    async def entries(self, tenant: Tenant, page: Page, where: BlocklistFilter) -> list[BlocklistRow]:
        self._views.check()
        part = (where.identifier or "").lower()
        rows = [
            row
            for (owner, _), row in reversed(self._ledger.blocks.items())
            if owner == tenant
            and row.unblocked_at is None
            and part in f"{row.email} {row.customer_id}".lower()
        ]
        return rows[page.offset : page.offset + page.limit]

    async def addressed(self, tenant: Tenant, email: str) -> list[str]:
        self._views.check()
        found = [
            who for who, row in self._views.customers_by_owner().items() if row.email.lower() == email.lower()
        ]
        return [customer_id for owner, customer_id in found if owner == tenant][:2]


class FakeVisibility:
    """Implements `ports.Visibility`: says what a test wants to hear, and remembers what it was asked."""

    def __init__(self) -> None:
        self.visible = True
        self.waits: list[tuple[int, int, float]] = []
        self.owed: list[tuple[int, int]] = []
        self.sequences = [0, 7, 0, 12]

    async def wait(self, shard: int, sequence: int, seconds: float) -> bool:
        self.waits.append((shard, sequence, seconds))
        return self.visible

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
        mine = [told for (owner, _), told in self.told.items() if owner == tenant and kind.key in told.known]
        return [told for told in mine if told.person.customer_id == where.get("customer_id")][: page.limit]

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
    settings = Settings(shards=4, **changes)
    ledger, limits = FakeLedger(settings.shards), limits_of(settings)
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
        blocklist=FakeBlocklist(ledger, views),
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


def _customer(customer_id: str, asked: RegisterCustomer, time: str) -> CustomerRow:
    return CustomerRow(
        customer_id=customer_id,
        name=asked.name,
        email=asked.email,
        phone_number=None if asked.phone_number is UNSET else asked.phone_number,
        metadata={} if asked.metadata is UNSET else asked.metadata,
        preferred_locale=None if asked.preferred_locale is UNSET else asked.preferred_locale,
        created_at=datetime.fromisoformat(time),
    )


def _altered(row: CustomerRow, asked: ChangeProfile) -> CustomerRow:
    fields = ("name", "email", "phone_number", "metadata", "preferred_locale")
    said = {name: getattr(asked, name) for name in fields}
    return row._replace(**{name: value for name, value in said.items() if value is not UNSET})


def _changed(reply: Reply, **changes: Any) -> Reply:
    return Reply(**{name: getattr(reply, name) for name in reply.__struct_fields__} | changes)
