"""Read models in databases of their own, a small ledger's history, and what the rows must be."""

import base64
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import psycopg
from msgspec import UNSET
from psycopg import sql
from psycopg.rows import dict_row
from pydantic import SecretStr

from events.ids import derived
from events.personal import Personal
from events.requested import RefundRequested
from services.keyring import KeyRing
from services.migrate import migrate
from services.projections.projector import Projector
from services.projections.read_models.tables import READ_MODELS
from services.settings import Settings
from tests import upstream
from tests.factories import EventFactory
from tests.unit.projections.reading import NEWEST, Tables, events_of

SHARDS = 3
TABLES = (*(table.name for table in READ_MODELS), "checkpoints")


@dataclass
class Views:
    """Read models and keys in databases of their own, and a ledger to fill them."""

    dsn: str
    keys_dsn: str
    kek: bytes
    settings: Settings

    def projector(self) -> Projector:
        projector = Projector(self.dsn, KeyRing(self.keys_dsn, self.kek))
        projector.load()
        return projector

    def factory(self) -> EventFactory:
        ring = KeyRing(self.keys_dsn, self.kek)
        return EventFactory(shards=SHARDS, data_key=lambda owner: ring.get_or_create([owner])[owner])

    def rows(self, table: str) -> list[dict[str, object]]:
        with psycopg.connect(self.dsn, row_factory=dict_row) as connection:
            found = connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4").fetchall()
        for row in found:
            row.pop("seen_at", None)
            if table == "checkpoints":
                row.pop("updated_at")
        return found

    def everything(self) -> dict[str, list[dict[str, object]]]:
        return {table: self.rows(table) for table in TABLES}

    def clear(self) -> None:
        with psycopg.connect(self.dsn) as connection:
            names = sql.SQL(", ").join(sql.Identifier(table.name) for table in READ_MODELS)
            connection.execute(sql.SQL("TRUNCATE {}, chain_breaks").format(names))
            connection.execute(
                "UPDATE checkpoints SET sequence = 0, head = '', next_offset = 0, event_time = NULL"
            )


def make_views(database: Callable[[str], str]) -> Views:
    """Migrated and empty; `database` is the fixture."""
    dsns = {name: database(name) for name in ("store", "views", "keys")}
    kek = secrets.token_bytes(32)
    settings = Settings(
        store_dsn=SecretStr(dsns["store"]),
        views_dsn=SecretStr(dsns["views"]),
        keys_dsn=SecretStr(dsns["keys"]),
        key_encryption_key=SecretStr(base64.b64encode(kek).decode()),
        shards=SHARDS,
    )
    migrate(settings)
    return Views(dsns["views"], dsns["keys"], kek, settings)


def business(factory: EventFactory, customers: int = 5) -> EventFactory:
    """A little of everything."""
    for number in range(customers):
        factory.registered(
            f"cus_{number}", f"Name {number} 🦊", phone_number="+1", metadata={"n": number, "f": 1.5}
        )
        factory.credited(f"cus_{number}", 1000 + number, reason="a reason")
        factory.credited(f"cus_{number}", 7, "INR")
        factory.debited(f"cus_{number}", 300)
        factory.debit_refused(f"cus_{number}", 10**9)
        factory.profile_changed(f"cus_{number}", Personal(email=f"{number}@new.example", phone_number=None))
        factory.debited(f"cus_{number}", 1)
        factory.blocked(f"cus_{number}", "a reason 🐍")
        factory.blocked(f"cus_{number}", "a better reason" if number % 2 else UNSET)
        if number % 3:
            factory.unblocked(f"cus_{number}")
        asked = RefundRequested(
            request_id=derived("ref_", str(number)),
            payment_id="pay_x",
            currency="USD",
            amount=5,
            is_partial=True,
        )
        factory.append(f"cus_{number}", asked, stream="payment-pay_x")
        upstream.tell(factory, f"cus_{number}")
        if number == 4:
            factory.closed(f"cus_{number}")
    return factory


def expect(views: Views, factory: EventFactory) -> None:
    """The tables are what an independent fold of the events says."""
    told = Tables()
    told.apply(events_of(factory))
    wallets = {
        (row["business_id"], row["mode"], row["customer_id"], row["currency"]): (
            row["balance_minor"],
            row["sequence"],
        )
        for row in views.rows("wallets")
    }
    assert wallets == {key: (row["balance_minor"], row["sequence"]) for key, row in told.wallets.items()}
    people = ("name", "email", "phone_number", "metadata", "preferred_locale", "shard", "blocklist_entry_id")
    assert {row["customer_id"]: [row[field] for field in people] for row in views.rows("customers")} == {
        key[2]: [row[field] for field in people] for key, row in told.customers.items()
    }
    for row in views.rows("customers"):
        [is_] = [its for key, its in told.customers.items() if key[2] == row["customer_id"]]
        assert [row["blocked_at"], row["closed_at"]] == [
            is_[at] and datetime.fromisoformat(is_[at]) for at in ("blocked_at", "closed_at")
        ]
        status = "closed" if is_["closed_at"] else "blocked" if is_["blocked_at"] else "active"
        assert row["status"] == status
    blocks = ("customer_id", "identifier", "reason", "shard")
    assert {row["block_id"]: [row[field] for field in blocks] for row in views.rows("blocklist_entries")} == {
        key[2]: [None if row[field] is UNSET else row[field] for field in blocks]
        for key, row in told.blocklist.items()
    }
    assert {row["block_id"] for row in views.rows("blocklist_entries") if row["unblocked_at"] is None} == {
        key[2] for key, row in told.blocklist.items() if row["unblocked_at"] is UNSET
    }
    money = ("entry_id", "is_credit", "amount_minor", "balance_before_minor", "balance_after_minor", "cause")
    assert {
        (row["shard"], row["sequence"]): [row[field] for field in money]
        for row in views.rows("ledger_entries")
    } == {key: [row[field] for field in money] for key, row in told.entries.items()}
    accounts = {
        (str(row["shard"]), row["business_id"], row["mode"], row["currency"], row["account"]): row[
            "balance_minor"
        ]
        for row in views.rows("accounts")
    }
    assert accounts == told.accounts
    tallies = {
        (str(row["business_id"]), str(row["mode"]), row["shard"]): (row["customers"], row["entries"])
        for row in views.rows("tallies")
    }
    assert tallies == counted(views)
    _expect_upstream(views, told)


def _expect_upstream(views: Views, told: Tables) -> None:
    """Of each object the newest, with what is known of it and the object as it came."""
    for table, (_, key) in NEWEST.items():
        found: dict[tuple[Any, ...], dict[str, object]] = {
            (row["business_id"], row["mode"], row[key], row["customer_id"]): row for row in views.rows(table)
        }
        wanted = told.newest[table]
        assert found.keys() == wanted.keys()
        for place, row in wanted.items():
            for name, value in row.items():
                if name.endswith("_at") and value is not UNSET:
                    value = datetime.fromisoformat(value)
                elif name in ("known", "object"):
                    value = msgspec.json.decode(msgspec.json.encode(value))
                assert found[place][name] == (None if value is UNSET else value), (table, name)
    instances: dict[tuple[str, str], set[str]] = {}
    for row in views.rows("licence_key_instances"):
        place = (str(row["customer_id"]), str(row["licence_key_id"]))
        instances.setdefault(place, set()).add(str(row["instance_id"]))
    assert instances == told.instances


def counted(views: Views) -> dict[tuple[str, str, object], tuple[int, int]]:
    """Tallies as counting the rows would make them."""
    owners = {
        table: Counter((str(row["business_id"]), str(row["mode"]), row["shard"]) for row in views.rows(table))
        for table in ("customers", "ledger_entries")
    }
    keys = owners["customers"].keys() | owners["ledger_entries"].keys()
    return {key: (owners["customers"][key], owners["ledger_entries"][key]) for key in keys}
