"""Exports: their form, what a spreadsheet must not run, and what is answered when one cannot begin."""

import asyncio
import csv
import io
import json

import httpx
import pytest

from services.api.lookups import EntryLookup, ExportsBusy, FoundEntry
from services.api.ports import ViewsUnavailable
from tests.unit.api.fakes import TENANT, Api, make_api
from tests.unit.api.test_lookups import ENTRIES, ENTRY

EXPORT = f"{ENTRIES}/export"


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


async def test_csv(api: Api, client: httpx.AsyncClient) -> None:
    api.exports.pieces = [[ENTRY, ENTRY], [ENTRY._replace(reason='a "b", c\nd', reference=None)]]
    answer = await client.get(f"{EXPORT}?cause=purchase&sort=created_at")
    rows = table(answer.text)
    assert len(rows) == 3
    assert rows[0] == {
        "entry_id": "wle_1", "customer_id": "cus_1", "currency": "USD", "direction": "debit", "amount": "5",
        "balance_before": "10", "balance_after": "5", "cause": "purchase", "counter_account": "merchant:sales",
        "reference": "ord_1", "reason": "", "created_at": "2026-01-02T03:04:05.678901Z", "position": "3:12",
    }  # fmt: skip
    assert (rows[2]["reason"], rows[2]["reference"]) == ('a "b", c\nd', "")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="ledger-entries.csv"'
    assert answer.headers["ledger-position"] == "1:7,3:12"
    assert api.exports.asked == [(TENANT, EntryLookup(cause="purchase", descending=False))]
    assert api.exports.closed == 1


async def test_ndjson(api: Api, client: httpx.AsyncClient, customer: str) -> None:
    api.exports.pieces = [[ENTRY], [ENTRY._replace(reason="=1+1")]]
    answer = await client.get(f"/v1/customers/{customer}/ledger-entries/export?format=ndjson")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["reason"] for line in lines] == [None, "=1+1"]  # a program reads it: nothing is changed
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert api.exports.asked[0][1].customer_id == customer


async def test_nothing_is_an_export_too(api: Api, client: httpx.AsyncClient) -> None:
    assert (await client.get(EXPORT)).text.startswith("entry_id,customer_id,")
    assert (await client.get(f"{EXPORT}?format=ndjson")).text == ""


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "|calc", "%0A", '=HYPERLINK("http://x")']
)
async def test_a_spreadsheet_runs_nothing(api: Api, client: httpx.AsyncClient, text: str) -> None:
    api.exports.pieces = [[ENTRY._replace(reason=text, reference=text)]]
    [row] = table((await client.get(EXPORT)).text)
    assert row["reason"] == row["reference"] == f"'{text}"


async def test_other_text_stays_as_it_is(api: Api, client: httpx.AsyncClient) -> None:
    api.exports.pieces = [[ENTRY._replace(reason="a=b; 5-3 'x'", reference="Nguyễn")]]
    [row] = table((await client.get(EXPORT)).text)
    assert (row["reason"], row["reference"]) == ("a=b; 5-3 'x'", "Nguyễn")


@pytest.mark.parametrize(
    ("error", "code"), [(ExportsBusy(), "EXPORTS_BUSY"), (ViewsUnavailable(), "SERVICE_UNAVAILABLE")]
)
async def test_what_cannot_begin_is_503(
    api: Api, client: httpx.AsyncClient, error: Exception, code: str
) -> None:
    api.exports.pieces = [error]
    answer = await client.get(EXPORT)
    assert (answer.status_code, answer.json()["code"]) == (503, code)
    assert answer.headers["x-should-retry"] == "true"


@pytest.mark.parametrize("pieces", [[[ENTRY] * 3], [[ENTRY], [ENTRY], [ENTRY]]])
async def test_too_many_rows_are_not_passed_off_as_all(pieces: list[list[FoundEntry]]) -> None:
    api = make_api(export_rows_max=2)
    api.exports.pieces = list(pieces)
    sent: list[dict[str, object]] = []
    await run(api, sent)
    assert sent[0]["status"] == 200
    assert all(message.get("more_body") for message in sent[1:]), "no end: the connection is closed"
    assert api.exports.closed == 1


async def test_an_error_on_the_way_is_not_passed_off_as_the_end(api: Api) -> None:
    api.exports.pieces = [[ENTRY], ViewsUnavailable()]
    sent: list[dict[str, object]] = []
    await run(api, sent)
    assert [message.get("more_body") for message in sent] == [None, True]


async def test_it_rests_after_each_piece(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []

    async def sleep(seconds: float) -> None:
        rests.append(seconds)

    monkeypatch.setattr("services.api.export.asyncio.sleep", sleep)
    api.exports.pieces = [[ENTRY], [ENTRY]]
    await run(api, [])
    assert len(rests) == 2
    assert all(rest > 0 for rest in rests)


async def run(api: Api, sent: list[dict[str, object]]) -> None:
    """The application as a server calls it, with a reader who stays."""
    requests = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> object:
        if requests:
            return requests.pop()
        return await asyncio.get_running_loop().create_future()

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "path": EXPORT, "raw_path": EXPORT.encode(), "query_string": b"",
        "headers": [(b"authorization", b"Bearer wl_test_all")], "http_version": "1.1", "scheme": "http",
        "server": ("x", 80), "client": ("x", 1), "root_path": "", "asgi": {"version": "3.0"},
    }  # fmt: skip
    await api.app(scope, receive, send)  # type: ignore[arg-type]
