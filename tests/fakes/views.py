"""The read models' database in memory, as far as the projector speaks to it: its statements, by their first words."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any

import psycopg
from psycopg import errors, sql

from tests.fakes.gate import Gate

Rows = list[tuple[Any, ...]]
CUT = "cut"


class Found:
    """A cursor's answer."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __iter__(self) -> Any:
        return iter(self._rows)

    def fetchall(self) -> Rows:
        return self._rows

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._rows[0] if self._rows else None


class MemoryViews:
    """What survives its sessions. Tables by their keys."""

    def __init__(self, shards: int) -> None:
        self.checkpoints: dict[int, tuple[int, bytes, int]] = dict.fromkeys(range(shards), (0, b"", 0))
        self.breaks: dict[int, tuple[int, str, int]] = {}
        self.customers: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.blocks: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.wallets: dict[tuple[str, str, str, str], dict[str, Any]] = {}
        self.entries: dict[tuple[int, int], dict[str, Any]] = {}
        self.tallies: dict[tuple[int, str, str], tuple[int, int]] = {}
        self.accounts: dict[tuple[int, str, str, str, str], int] = {}

    def perform(self, verb: str, parameters: Sequence[Any]) -> Rows:
        """One statement. Raises as PostgreSQL does."""
        act: Callable[[Sequence[Any]], Rows | None] = getattr(self, "_" + verb)
        return act(parameters) or []

    def _read_checkpoints(self, _: Sequence[Any]) -> Rows:
        return [(shard, *checkpoint) for shard, checkpoint in sorted(self.checkpoints.items())]

    def _read_breaks(self, _: Sequence[Any]) -> Rows:
        return [(shard, sequence) for shard, (sequence, _, _) in sorted(self.breaks.items())]

    def _move(self, columns: Sequence[Any]) -> None:
        for shard, seen, seen_head, sequence, head, offset, _ in zip(*columns, strict=True):
            if self.checkpoints[shard][:2] != (seen, seen_head):
                raise errors.SerializationFailure("another projector moved these checkpoints")
            self.checkpoints[shard] = (sequence, head, offset)

    def _note_break(self, parameters: Sequence[Any]) -> Rows:
        shard, sequence, reason = parameters
        known = self.breaks.get(shard)
        times = known[2] + 1 if known is not None and known[0] == sequence else 1
        self.breaks[shard] = (sequence, reason, times)
        return [(times,)]

    def _pass_breaks(self, parameters: Sequence[Any]) -> None:
        for shard in parameters[0]:
            self.breaks.pop(shard, None)

    def _insert_customers(self, parameters: Sequence[Any]) -> None:
        for row in json.loads(parameters[0]):
            key = (row["business_id"], row["mode"], row["customer_id"])
            self._unique(self.customers, key)
            absent = ("phone_number", "preferred_locale", "blocked_at", "closed_at", "erased_at")
            empty: dict[str, Any] = {"metadata": {}} | dict.fromkeys(absent)
            self.customers[key] = empty | row

    def _update_customers(self, parameters: Sequence[Any]) -> None:
        for row in json.loads(parameters[0]):
            old = self.customers.get((row["business_id"], row["mode"], row["customer_id"]))
            if old is None:
                continue
            for name in ("name", "email", "metadata"):
                if row.get(name) is not None:
                    old[name] = row[name]
            for name in ("phone_number", "preferred_locale"):
                if row["says_" + name]:
                    old[name] = row.get(name)
            if row["says_blocked"]:
                old["blocked_at"] = row.get("blocked_at")
            for name in ("closed_at", "erased_at"):
                old[name] = row.get(name) or old[name]

    def _insert_blocks(self, parameters: Sequence[Any]) -> None:
        for row in json.loads(parameters[0]):
            self._unique(self.blocks, (row["business_id"], row["mode"], row["block_id"]))
            self.blocks[row["business_id"], row["mode"], row["block_id"]] = {"unblocked_at": None} | row

    def _update_blocks(self, parameters: Sequence[Any]) -> None:
        for row in json.loads(parameters[0]):
            old = self.blocks[row["business_id"], row["mode"], row["block_id"]]
            old["unblocked_at"] = row.get("unblocked_at") or old["unblocked_at"]

    def _forget_blocks(self, parameters: Sequence[Any]) -> None:
        gone = _places(parameters)
        for key, row in self.blocks.items():
            if _place(row) in gone:
                self.blocks[key] = row | {"identifier": row["customer_id"], "reason": None}

    def _forget_reasons(self, parameters: Sequence[Any]) -> None:
        gone = _places(parameters)
        for key, row in self.entries.items():
            if _place(row) in gone:
                self.entries[key] = row | {"reason": None}

    def _forget_early(self, _: Mapping[str, Any]) -> Rows:
        """No history is that long here."""
        return []

    def _upsert_wallets(self, parameters: Sequence[Any]) -> None:
        for row in json.loads(parameters[0]):
            if row["balance_minor"] < 0:
                raise errors.CheckViolation("balance_minor")
            self.wallets[row["business_id"], row["mode"], row["customer_id"], row["currency"]] = row

    def _insert_entries(self, parameters: Sequence[Any]) -> None:
        for row in json.loads(parameters[0]):
            self._unique(self.entries, (row["shard"], row["sequence"]))
            self.entries[row["shard"], row["sequence"]] = row

    def _add_accounts(self, parameters: Sequence[Any]) -> None:
        for row in json.loads(parameters[0]):
            key = (row["shard"], row["business_id"], row["mode"], row["currency"], row["account"])
            self.accounts[key] = self.accounts.get(key, 0) + int(row["added_minor"])

    def _add_tallies(self, parameters: Sequence[Any]) -> None:
        for row in json.loads(parameters[0]):
            key = (row["shard"], row["business_id"], row["mode"])
            customers, entries = self.tallies.get(key, (0, 0))
            self.tallies[key] = (customers + row["customers"], entries + row["entries"])

    def _notify(self, _: Sequence[Any]) -> None:
        """Nobody listens."""

    _beat = _notify
    _forget_objects = _notify
    _set = _notify

    def _unique(self, table: dict[Any, Any], key: Any) -> None:
        if key in table:
            raise errors.UniqueViolation(str(key))


def _place(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["business_id"], row["mode"], row["customer_id"]


def _places(parameters: Sequence[Any]) -> set[tuple[str, str, str]]:
    return set(map(_place, json.loads(parameters[0])))


OBJECTS = ("payments", "refunds", "disputes", "subscriptions", "licence_keys")

VERBS = {
    "SELECT shard, sequence, head": "read_checkpoints",
    "SELECT shard, sequence FROM": "read_breaks",
    "SELECT move_checkpoints": "move",
    "SELECT pg_notify": "notify",
    "INSERT INTO projectors": "beat",
    "DELETE FROM projectors": "beat",
    "INSERT INTO chain_breaks": "note_break",
    "DELETE FROM chain_breaks": "pass_breaks",
    "INSERT INTO customers": "insert_customers",
    "UPDATE customers": "update_customers",
    "INSERT INTO blocklist_entries": "insert_blocks",
    "UPDATE blocklist_entries AS old SET identifier": "forget_blocks",
    "UPDATE blocklist_entries": "update_blocks",
    "UPDATE ledger_entries": "forget_reasons",
    "WITH bite AS": "forget_early",
    "DELETE FROM licence_key_instances": "forget_objects",
    **{f"UPDATE {table} AS old SET object": "forget_objects" for table in OBJECTS},
    "INSERT INTO wallets": "upsert_wallets",
    "INSERT INTO ledger_entries": "insert_entries",
    "INSERT INTO accounts": "add_accounts",
    "INSERT INTO tallies": "add_tallies",
    "SET": "set",
}


class MemorySession:
    """As `psycopg.Connection` with autocommit. Calls take no time; each may be the last of its session."""

    def __init__(self, views: MemoryViews, gate: Gate) -> None:
        self.info = SimpleNamespace(server_version=180_000)
        self.closed = False
        self._views = views
        self._gate = gate
        self._open: list[tuple[str, Sequence[Any]]] | None = None
        self._pass("views_connect")

    def execute(
        self, query: str | sql.Composed, parameters: Sequence[Any] = (), prepare: bool | None = None
    ) -> Found:
        """A transaction takes effect at COMMIT: nobody else runs meanwhile."""
        words = " ".join((query if isinstance(query, str) else query.as_string()).split())
        if words == "BEGIN":
            self._pass("views_begin")
            self._open = []
            return Found([])
        if words == "COMMIT":
            self._pass("views_commit")
            transaction, self._open = self._open or [], None
            self._atomically(transaction)
            self._pass("views_commit", "after")
            return Found([])
        verb = next(verb for start, verb in VERBS.items() if words.startswith(start))
        self._pass("views_" + verb)
        if self._open is not None:
            self._open.append((verb, parameters))
            return Found([])
        rows = self._views.perform(verb, parameters)
        self._pass("views_" + verb, "after")
        return Found(rows)

    def pipeline(self) -> AbstractContextManager[None]:
        return nullcontext()

    def rollback(self) -> None:
        self._open = None

    def close(self) -> None:
        self.closed, self._open = True, None

    def _atomically(self, transaction: list[tuple[str, Sequence[Any]]]) -> None:
        views = self._views
        before = {name: dict(table) for name, table in vars(views).items()}
        for name in ("customers", "blocks"):  # whose rows are changed in place
            before[name] = {key: dict(row) for key, row in before[name].items()}
        try:
            for verb, parameters in transaction:
                views.perform(verb, parameters)
        except errors.DatabaseError:
            vars(views).update(before)
            raise

    def _pass(self, call: str, phase: Any = "before") -> None:
        if self.closed:
            raise psycopg.OperationalError("the session is closed")
        if self._gate.now(call, phase) == CUT:
            self.close()
            raise psycopg.OperationalError("the connection is cut")
