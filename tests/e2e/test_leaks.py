"""All that is personal or secret of a business carries a mark; it is asked well and badly; the mark stays where it may."""

import asyncio
import json
import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from events.ids import Tenant, owner_of
from events.topics import DEAD_LETTERS, EVENTS, REPLIES, REPLIES_PARTITIONS
from services.projections.read_models.tables import READ_MODELS
from services.settings import Settings
from tests.asking import read_topic
from tests.proof import abuse, hostile, service
from tests.proof.matrix import BODIES, Ids, keyed, request
from tests.proof.told import Told
from tests.running import eventually

pytestmark = pytest.mark.timeout(300)  # the machine may have to start first
Machine = type[service.ServiceMachine]
MARK = f"Zq{secrets.token_hex(8)}"
ID_MARK = f"Iq{secrets.token_hex(8)}"
"""Ids stand in clear, but no refusal repeats one."""


class Heard:
    """Bodies and headers of refusals."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.refusals: list[str] = []

    def ask(self, **sent: Any) -> None:
        said = self.client.request(**sent)
        if said.status_code >= 400:
            self.refusals.append(f"{sent['method']} {said.status_code} {said.text} {dict(said.headers)}")
        assert said.status_code < 500, said.text


def marked(body: Any) -> Any:
    """With the mark in each text that is free, and where no text belongs."""
    return body | {
        "name": MARK, "email": f"{MARK}@example.com", "reason": MARK, "metadata": {"note": MARK},
        "phone_number": MARK, "idempotency_key": MARK,
    }  # fmt: skip


def bad_bodies(body: Any) -> Iterator[bytes]:
    for name in body:
        yield json.dumps(marked(body) | {name: {MARK: MARK}}).encode()
        yield json.dumps(marked(body) | {name: MARK * 500}).encode()
    yield json.dumps(marked(body)).encode()[:-5]
    yield json.dumps([MARK]).encode()
    yield json.dumps(MARK).encode()


def ask_everything(heard: Heard, ids: Ids) -> None:
    for operation in keyed():
        sent = request(operation, ids)
        heard.ask(**sent, headers={"authorization": f"Bearer wl_test_{MARK}"})
        heard.ask(**{**sent, "url": f"{sent['url']}/{MARK}"})
        heard.ask(**request(operation, Ids(*(f"{kind}_{ID_MARK}" for kind in Ids._fields))))
        heard.ask(**sent, headers={"ledger-position": MARK})
        queries = [*(one.name for one in operation.parameters if one.place == "query"), MARK]
        for name in queries:
            heard.ask(**{**sent, "params": {name: MARK}})
        if operation.body is not None:
            keyed_by = {"content-type": "application/json", "idempotency-key": MARK}
            plain = {name: value for name, value in sent.items() if name != "json"}
            for content in bad_bodies(BODIES[operation.body]):
                heard.ask(**plain, content=content, headers=keyed_by)
            heard.ask(**plain, content=MARK.encode(), headers={"content-type": f"text/{MARK}"})
            heard.ask(
                **plain, json=marked(sent["json"]), headers={"idempotency-key": f"{MARK} {sent['url']}"}
            )


@pytest.fixture(scope="module")
def lived(machine: Machine) -> list[str]:
    """All refusals of the marked business, once it has lived."""
    running = machine.service
    business, bootstrap = "biz_marked", running.system.kafka.bootstrap
    headers = abuse.bearer(running, business)
    with httpx.Client(base_url=running.url, timeout=20, trust_env=False, headers=headers) as client:
        ids = abuse.own(running, business, client, headers, MARK)
        heard = Heard(client)
        ask_everything(heard, ids)
    good = Told(business, ids.customer, MARK).events()[0]
    bad = [
        value.replace(b"payment", b"payment " + MARK.encode()) if value else value
        for value in [*hostile.no_json().values(), *hostile.wrong(good).values()]
    ]
    intake = running.processes["intake"]
    before = intake.metric("wallet_ledger_intake_dead_letters_total")
    asyncio.run(hostile.write(bootstrap, "payments.events", bad))
    eventually(
        lambda: intake.metric("wallet_ledger_intake_dead_letters_total") - before >= len(bad), what="letters"
    )
    asyncio.run(hostile.write(bootstrap, "ledger.commands", [f'{{"data":"{MARK}"}}'.encode(), MARK.encode()]))
    return heard.refusals


def test_refusals_repeat_nothing(lived: list[str]) -> None:
    assert len(lived) > 200
    assert [said for said in lived for mark in (MARK, ID_MARK) if mark.lower() in said.lower()] == []


def test_logs_hold_no_mark_and_no_secret(machine: Machine, lived: list[str]) -> None:
    settings = machine.service.system.settings
    hidden = [
        settings.key_encryption_key, settings.request_hash_secret, settings.store_dsn, settings.views_dsn,
        settings.keys_dsn,
    ]  # fmt: skip
    logs = {name: process.log.read_text() for name, process in machine.service.processes.items()}
    assert {"intake", "ledger"} <= {
        name.partition("-")[0] for name, told in logs.items() if told
    }  # dead letters
    for name, told in logs.items():
        assert MARK.lower() not in told.lower(), name
        assert not [secret for secret in hidden if secret.get_secret_value() in told], name


def test_metrics_hold_no_mark(machine: Machine, lived: list[str]) -> None:
    for name, process in machine.service.processes.items():
        told = httpx.get(f"http://127.0.0.1:{process.port}/metrics").text
        assert "wallet_ledger_" in told, name
        assert MARK.lower() not in told.lower(), name


@pytest.mark.parametrize(
    ("topic", "partitions"),
    [(EVENTS, service.SHARDS), (REPLIES, REPLIES_PARTITIONS), (DEAD_LETTERS, 1)],
    ids=lambda value: str(getattr(value, "name", "")),
)
def test_what_is_kept_in_topics_is_sealed(
    machine: Machine, lived: list[str], topic: Any, partitions: int
) -> None:
    bootstrap = machine.service.system.kafka.bootstrap
    found = asyncio.run(read_topic(bootstrap, partitions, topic.name))
    values = [value for records in found.values() for value in records if value]
    assert len(values) > 10
    assert [value for value in values if MARK.encode() in value] == []


def test_the_store_is_sealed(machine: Machine, lived: list[str]) -> None:
    with machine.service.system.store() as store:
        tables = store.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        for (table,) in tables:
            rows = store.execute(
                f'SELECT count(*) FROM "{table}" t WHERE position(%s IN t::text) > 0', [MARK]
            )
            raw = store.execute(
                f"SELECT count(*) FROM \"{table}\" t WHERE position(encode(%s, 'hex') IN t::text) > 0",
                [MARK.encode()],
            )
            assert rows.fetchone() == raw.fetchone() == (0,), table


def tables_with(settings: Settings, mark: str) -> set[str]:
    """Of the read models, whatever column it stands in."""
    with psycopg.connect(settings.views_dsn.get_secret_value()) as views:
        return {
            table.name
            for table in READ_MODELS
            if views.execute(
                f"SELECT 1 FROM {table.name} t WHERE position(lower(%s) IN lower(t::text)) > 0", [mark]
            ).fetchone()
        }


def erase(client: httpx.Client, customer: str) -> None:
    def ask(path: str, body: dict[str, Any] | None = None) -> None:
        said = client.post(path, json=body)
        assert said.status_code == 200, said.text

    ask(f"/v1/customers/{customer}/unblock")
    for wallet in client.get(f"/customers/{customer}/wallets").json()["items"]:
        if wallet["balance"]:
            money = {"amount": wallet["balance"], "currency": wallet["currency"], "reason": MARK}
            ask(f"/customers/{customer}/wallets/ledger-entries", money | {"entry_type": "debit"})
    ask(f"/v1/customers/{customer}/close", {"reason": MARK})
    ask(f"/v1/customers/{customer}/erase")


def test_of_who_is_erased_the_read_models_keep_nothing(machine: Machine, lived: list[str]) -> None:
    """The last test here: all customers of the business go. Their events stay, and no key that opens them."""
    running = machine.service
    settings, headers = running.system.settings, abuse.bearer(running, "biz_marked")
    assert {"customers", "ledger_entries", "payments", "licence_keys"} <= tables_with(settings, MARK)
    with httpx.Client(base_url=running.url, timeout=20, trust_env=False, headers=headers) as client:
        there = [
            one["customer_id"] for one in client.get("/customers", params={"page_size": 100}).json()["items"]
        ]
        for customer in there:
            erase(client, customer)
        listed = client.get("/customers", params={"page_size": 100}).json()["items"]
        assert [(one["name"], one["email"]) for one in listed] == [("", "")] * len(there)
        assert client.get("/v1/customers", params={"search": MARK}).json()["items"] == []
    assert tables_with(settings, MARK) == set()
    owners = [owner_of(Tenant("biz_marked", "test"), customer) for customer in there]
    with psycopg.connect(settings.keys_dsn.get_secret_value()) as keys:
        found = keys.execute("SELECT wrapped FROM data_keys WHERE owner = ANY(%s)", [owners]).fetchall()
    assert found == [(None,)] * len(there)
