"""The same state machine in front of the running service: asked through HTTP and through Kafka, read through HTTP."""

import asyncio
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple

import httpx
from hypothesis import strategies as st
from hypothesis.stateful import rule

from events.commands import (
    AnyAsk,
    BlockCustomer,
    ChangeProfile,
    CloseCustomer,
    CreditWallet,
    CustomerAsk,
    DebitWallet,
    EnterInBulk,
    EraseCustomer,
    RegisterCustomer,
    UnblockCustomer,
)
from events.ids import Tenant, customer_id_from_key, parse_position
from events.replies import Reply
from services.api.keys import Scope, create_key
from tests.asking import Asker
from tests.fakes.asking import bulk, entry
from tests.proof.accounts import Said
from tests.proof.model import OPEN, Counted, answer_of
from tests.proof.oracle import Oracle, Request
from tests.running import Process, System, running

SHARDS = 4
STEPS_MAX = 40
MANY = 400
SECONDS_MAX = 20.0
NAMES = ("a", "b", "c")
RENAMED = ChangeProfile(name="Ngọc", phone_number=None)
STATUS = {BlockCustomer: "block", UnblockCustomer: "unblock", CloseCustomer: "close", EraseCustomer: "erase"}

amounts = st.sampled_from([1, 2, 3, 5, 8, 2**53 - 1])
movements = st.one_of(*(
    st.builds(kind, currency=st.sampled_from(["USD", "USD", "INR"]), amount=amounts)
    for kind in (CreditWallet, CreditWallet, DebitWallet)
))  # fmt: skip
statuses = st.sampled_from(
    [BlockCustomer(), UnblockCustomer(), UnblockCustomer(), CloseCustomer(), CloseCustomer(), EraseCustomer()]
)
asks = st.one_of(movements, movements, movements, st.just(RENAMED), statuses)
keys = st.sampled_from([None, None, "k1", "k2", "k3"])
names = st.sampled_from(NAMES)


class Entry(NamedTuple):
    """A movement in a bulk record."""

    name: str
    ask: CreditWallet | DebitWallet
    key: str


entries = st.lists(
    st.builds(Entry, names, movements, st.sampled_from(["k1", "k2", "k3", "k4", "k5"])),
    min_size=1,
    max_size=5,
)


class Service:
    """A running system, and how to ask it. Kafka's client lives on a loop of its own thread."""

    def __init__(self, system: System, url: str, processes: Sequence[Process] = ()) -> None:
        self.system = system
        self.processes = {process.name: process for process in processes}
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=SECONDS_MAX, trust_env=False)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._asker = Asker(system.kafka.bootstrap, SHARDS)
        self.run(self._asker.start())

    def close(self) -> None:
        self.http.close()
        self.run(self._asker.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def ask(self, tenant: Tenant, customer: str, ask: AnyAsk, key: str | None, effective: str = "") -> Reply:
        """A command, as a producer of `ledger.commands` would send it."""
        sending = self._asker.send(customer, ask, key or "", tenant=tenant, awaited=True, effective=effective)
        sent = self.run(sending)
        reply: Reply = self.run(self._asker.reply(sent, SECONDS_MAX))
        return reply

    def enter(self, tenant: Tenant, customer: str, record: EnterInBulk) -> Reply:
        """Many commands in one record."""
        sent = self.run(self._asker.send(customer, record, tenant=tenant, awaited=True))
        reply: Reply = self.run(self._asker.reply(sent, SECONDS_MAX))
        return reply

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(2 * SECONDS_MAX)


class AskingMachine(Counted):
    """A business of its own for each story, asked through HTTP and through Kafka, and read through HTTP."""

    service: Service
    numbers = count(1)

    def __init__(self) -> None:
        super().__init__()
        self.tenant = Tenant(f"biz_{next(self.numbers)}_{secrets.token_hex(3)}", "test")
        dsn = self.service.system.settings.views_dsn.get_secret_value()
        _, secret = create_key(dsn, self.tenant.business_id, "test", "proof", list(Scope))
        self.headers = {"authorization": f"Bearer {secret}"}
        self.oracle = Oracle(OPEN)
        self.ids = {name: customer_id_from_key(self.tenant, f"register {name}") for name in NAMES}
        self.positions: dict[str, str] = {}

    def shown(self, name: str) -> None:
        """What reads say with the position of the last write."""
        customer = self.ids[name]
        account = self.oracle.account(str(self.tenant), customer)
        shown = self.get(customer, f"/customers/{customer}")
        if account.profile is None:
            assert shown.status_code == 404
            return
        assert shown.status_code == 200, shown.text
        assert shown.json()["name"] == account.profile["name"]
        assert (shown.json()["blocked_at"] is not None) == account.blocked
        wallets = self.get(customer, f"/customers/{customer}/wallets").json()["items"]
        assert {one["currency"]: one["balance"] for one in wallets} == dict.fromkeys(
            OPEN, 0
        ) | account.balances
        entries = self.get(customer, f"/customers/{customer}/wallets/ledger-entries?page_size=100").json()[
            "items"
        ]
        found = [(one["currency"], one["before_balance"], one["after_balance"]) for one in entries]
        assert found == [(one.currency, one.before, one.after) for one in reversed(account.entries)]

    def get(self, customer: str, path: str) -> httpx.Response:
        """Again while the read models are on their way: bounded by the client's patience."""
        position = self.positions.get(customer)
        headers = self.headers | ({"ledger-position": position} if position else {})
        while True:
            answer = self.service.http.get(path, headers=headers)
            if answer.status_code != 503 or answer.json()["code"] != "NOT_YET_VISIBLE":
                return answer


class ServiceMachine(AskingMachine):
    """Customers and their money. What is asked by one way is repeated by the other with the same key."""

    @rule(name=names, kafka=st.booleans(), who=st.sampled_from(["Lê", "Lê", "Trần"]))
    def registered(self, name: str, kafka: bool, who: str) -> None:
        ask = RegisterCustomer(name=who, email="le@example.com")
        self._asked(name, ask, f"register {name}", kafka)

    @rule(name=names, ask=asks, key=keys, kafka=st.booleans())
    def asked(self, name: str, ask: CustomerAsk, key: str | None, kafka: bool) -> None:
        self._asked(name, ask, key, kafka)

    @rule(entries=entries, together=st.booleans(), kafka=st.booleans())
    def entered(self, entries: list[Entry], together: bool, kafka: bool) -> None:
        """In one record; through Kafka it is of one shard, here of one customer."""
        self.count()
        if kafka:
            entries = [entry for entry in entries if entry.name == entries[0].name]
        record = [Request(str(self.tenant), self.ids[name], ask, key) for name, ask, key in entries]
        said = self.oracle.enter(record, together)
        found = self._bulk_by_kafka(record, together) if kafka else self._bulk_by_http(record, together)
        assert found == [one._replace(fact=0, before=one.before if kafka else None) for one in said]

    @rule(name=names)
    def read(self, name: str) -> None:
        self.count()
        self.shown(name)

    def _asked(self, name: str, ask: CustomerAsk, key: str | None, kafka: bool) -> None:
        self.count()
        customer = self.ids[name]
        said = self.oracle.ask(Request(str(self.tenant), customer, ask, key))
        found = self._by_kafka(customer, ask, key) if kafka else self._by_http(customer, ask, key)
        wanted = said._replace(fact=0)
        if not kafka:  # which says less
            wanted = wanted._replace(replayed=False, before=None)
        assert found == wanted._replace(
            after=said.after if isinstance(ask, CreditWallet | DebitWallet) else None
        )

    def _bulk_by_kafka(self, record: list[Request], together: bool) -> list[Said]:
        made = [entry(one.customer, one.ask, str(one.key)) for one in record]  # type: ignore[arg-type]
        customer = record[0].customer
        reply = self.service.enter(self.tenant, customer, bulk(*made, together=together))
        self.positions[customer] = reply.position or self.positions.get(customer, "")
        return [answer_of(one, 0) for one in reply.entries]

    def _bulk_by_http(self, record: list[Request], together: bool) -> list[Said]:
        items = [
            self._request(one.customer, one.ask)[2]
            | {"customer_id": one.customer, "idempotency_key": one.key}
            for one in record
        ]
        body = {"items": items, "all_or_nothing": together}
        answer = self.service.http.post("/v1/ledger-entries/bulk", json=body, headers=self.headers)
        assert answer.status_code == 200, answer.text
        outcomes = answer.json()["items"]
        for one, outcome in zip(record, outcomes, strict=True):
            self._reached(one.customer, outcome.get("ledger_position"))
        return [_said(outcome) for outcome in outcomes]

    def _reached(self, customer: str, position: str | None) -> None:
        """Reads have to show the latest."""
        known = self.positions.get(customer)
        if position and (not known or parse_position(position) > parse_position(known)):
            self.positions[customer] = position

    def _by_kafka(self, customer: str, ask: CustomerAsk, key: str | None) -> Said:
        reply = self.service.ask(self.tenant, customer, ask, key)
        self.positions[customer] = reply.position or self.positions.get(customer, "")
        return answer_of(reply, 0)

    def _by_http(self, customer: str, ask: CustomerAsk, key: str | None) -> Said:
        method, path, body = self._request(customer, ask)
        headers = self.headers | ({} if key is None else {"idempotency-key": key})
        answer = self.service.http.request(method, path, json=body, headers=headers)
        assert answer.status_code < 500, answer.text
        self.positions[customer] = answer.headers.get("ledger-position", self.positions.get(customer, ""))
        found: dict[str, Any] = answer.json()
        if answer.status_code == 200:
            return Said("applied", after=found.get("balance"))
        if found["code"] == "IDEMPOTENCY_KEY_REUSED":
            return Said("key_reused")
        assert "ledger-position" in answer.headers, answer.text
        return Said("refused", found["code"])

    def _request(self, customer: str, ask: AnyAsk) -> tuple[str, str, dict[str, Any]]:
        if isinstance(ask, RegisterCustomer):
            return "POST", "/customers", {"name": ask.name, "email": ask.email}
        if isinstance(ask, ChangeProfile):
            return "PATCH", f"/customers/{customer}", {"name": ask.name, "phone_number": None}
        if isinstance(ask, CreditWallet | DebitWallet):
            body = {"currency": ask.currency, "amount": ask.amount}
            entry_type = "credit" if isinstance(ask, CreditWallet) else "debit"
            return "POST", f"/customers/{customer}/wallets/ledger-entries", body | {"entry_type": entry_type}
        return "POST", f"/v1/customers/{customer}/{STATUS[type(ask)]}", {}

    def teardown(self) -> None:
        for name in NAMES:
            self.shown(name)


def _said(outcome: dict[str, Any]) -> Said:
    """An item's outcome in the oracle's words."""
    if outcome["status"] == 200:
        return Said("applied", replayed=outcome["replayed"], after=outcome["balance"])
    code = outcome["code"]
    if code == "IDEMPOTENCY_KEY_REUSED":
        return Said("key_reused")
    recorded = outcome.get("ledger_position") is not None
    return Said("refused" if recorded else "key_reused", code, replayed=outcome["replayed"])


@contextmanager
def started(**api: Any) -> Iterator[type[ServiceMachine]]:
    """Machines in front of real processes: api, two ledger workers, projections, intake, Kafka and PostgreSQL.

    `api`: settings of the api alone."""
    with running(SHARDS) as system:
        processes = [system.service("ledger", "ledger-1"), system.service("ledger", "ledger-2"),
                     system.service("projections"), system.service("intake"),
                     system.service("api", rate_limit_refused_per_second=0, **api)]  # fmt: skip
        for process in processes:
            process.start()
        for process in processes:
            process.wait_ready()
        service = Service(system, f"http://127.0.0.1:{processes[-1].port}", processes)
        try:
            yield type("ServiceMachine", (ServiceMachine,), {"service": service})
        finally:
            service.close()
