"""Texts that would mean something elsewhere, to PostgreSQL, to HTTP, to a spreadsheet or to a log, mean themselves."""

import csv
import io
import json
import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.proof import abuse, service

pytestmark = pytest.mark.timeout(300)  # the machine may have to start first
Machine = type[service.ServiceMachine]
WORDS = (
    "'; DROP TABLE customers; --", '" OR ""="', "' OR '1'='1", "1) UNION SELECT key_id FROM api_keys --", "$1",
    "%(business_id)s", "x'||pg_sleep(9)||'", "%", "_", "\\", "\\'; --", "{{7*7}}", "${jndi:ldap://x}", "<script>",
)  # fmt: skip
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", 'a,"b"\n=1', '=HYPERLINK("http://x")')
LINE = 'a\n{"event": "forged", "level": "error"}\r\nSet-Cookie: x=1'


@pytest.fixture(scope="module")
def client(machine: Machine) -> Iterator[httpx.Client]:
    headers = abuse.bearer(machine.service, "biz_injection")
    with httpx.Client(base_url=machine.service.url, headers=headers, timeout=20, trust_env=False) as made:
        yield made


def made(client: httpx.Client, name: str) -> tuple[str, str]:
    """A customer of this name, and the position from which reads show him."""
    said = client.post("/customers", json={"name": name, "email": f"{name}@x", "metadata": {"word": name}})
    assert said.status_code == 200, said.text
    return said.json()["customer_id"], said.headers["ledger-position"]


def test_sql_is_text(client: httpx.Client) -> None:
    known = {}
    positions: dict[str, str] = {}
    for word in WORDS:
        known[word], position = made(client, word)
        positions[position.partition(":")[0]] = position
    newest = {"ledger-position": ",".join(positions.values())}
    for word, customer in known.items():
        shown = client.get(f"/customers/{customer}", headers=newest).json()
        assert (shown["name"], shown["metadata"]["word"]) == (word, word)
        containing = {other for text, other in known.items() if word in text}
        found = client.get("/customers", params={"name": word, "page_size": 100}, headers=newest).json()[
            "items"
        ]
        assert {one["customer_id"] for one in found} == containing, word
        by_pair = client.get("/v1/customers", params={"metadata[word]": word}, headers=newest).json()["items"]
        assert [one["customer_id"] for one in by_pair] == [customer], word
        by_address = client.get("/customers", params={"email": f"{word}@x"}, headers=newest).json()["items"]
        assert [one["customer_id"] for one in by_address] == [customer], word
        for path, parameters in (
            ("/v1/customers", {"search": word}), ("/v1/customers", {"sort": word}),
            ("/v1/customers", {"cursor": word}), ("/v1/ledger-entries", {"reference": word}),
            ("/blocklist/customers", {"identifier": word}), ("/payments", {"product_id": word}),
        ):  # fmt: skip
            said = client.get(path, params=parameters)
            assert said.status_code in (200, 422), said.text
            assert said.elapsed.total_seconds() < 5


def test_formulas_are_text(client: httpx.Client) -> None:
    customer, _ = made(client, "Formula")
    entries = f"/customers/{customer}/wallets/ledger-entries"
    for reason in FORMULAS:
        body = {"amount": 1, "currency": "USD", "entry_type": "credit", "reason": reason}
        said = client.post(entries, json=body)
        assert said.status_code == 200, said.text
    newest = {"ledger-position": said.headers["ledger-position"]}
    table = client.get(f"/v1/customers/{customer}/ledger-entries/export", headers=newest).content.decode(
        "utf-8-sig"
    )
    rows = list(csv.DictReader(io.StringIO(table, newline="")))
    assert len(rows) == len(FORMULAS)
    for row in rows:
        assert not row["reason"].startswith(("=", "+", "-", "@", "\t", "\r")), row["reason"]
    assert {row["reason"].removeprefix("'") for row in rows} == set(FORMULAS)


def raw(url: str, head: bytes) -> bytes:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head)
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk
    return received


@pytest.mark.parametrize("name", ["Idempotency-Key", "X-Request-Id", "Ledger-Position", "Prefer"])
@pytest.mark.parametrize(
    "value", [b"a\rSet-Cookie: x=1", b"a\n Set-Cookie: x=1", b"a\x00b", b"\x7f", b"a\xc2\x85b"]
)
def test_no_header_makes_another(machine: Machine, name: str, value: bytes) -> None:
    head = b"GET /customers HTTP/1.1\r\nhost: x\r\nconnection: close\r\n%b: %b\r\n\r\n" % (
        name.encode(),
        value,
    )
    answer = raw(machine.service.url, head)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert b"set-cookie" not in answer.lower()


@pytest.mark.parametrize(
    "path", ["/customers/a%0d%0aSet-Cookie:%20x=1", "/payments/a%0aX:%201", "/%0d%0aX:%201"]
)
def test_no_path_makes_a_header(client: httpx.Client, path: str) -> None:
    said = client.get(path)
    assert said.status_code == 404
    assert not {"set-cookie", "x"} & set(said.headers)


def test_a_line_in_a_text_makes_no_line_in_a_log(machine: Machine, client: httpx.Client) -> None:
    customer, _ = made(client, LINE)
    body = {
        "amount": 1,
        "currency": "USD",
        "entry_type": "credit",
        "reason": LINE,
        "idempotency_key": LINE[:200],
    }
    assert client.post(f"/customers/{customer}/wallets/ledger-entries", json=body).status_code == 200
    client.get(f"/customers/{LINE!r}", headers={"x-request-id": "a%0aforged"})
    for process in machine.service.processes.values():
        lines = process.log.read_text().splitlines()
        assert not [line for line in lines if line.startswith("{") and json.loads(line)["event"] == "forged"]
        assert not process.said("forged")
