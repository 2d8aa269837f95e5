"""The audit of what we install finds holes, and never takes a database that does not answer for a clean bill."""

import json
import re
import socketserver
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from deploy import audit
from deploy.audit import CANARY, Package, packages

Database = Callable[[dict[str, Any]], Any]


class _Server(HTTPServer):
    answering: Database


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.end_headers()
        said = self.server.answering(asked)
        self.wfile.write(said if isinstance(said, bytes) else json.dumps(said).encode())

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def database() -> Iterator[tuple[_Server, str]]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        assert isinstance(server, socketserver.TCPServer)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server, f"http://127.0.0.1:{server.server_port}/v1/querybatch"
        server.shutdown()
        thread.join()


def knowing(*names: str) -> Database:
    """Holes in packages of these names."""

    def answer(asked: dict[str, Any]) -> dict[str, Any]:
        vulns = [
            {"vulns": [{"id": "GHSA-1"}]} if q["package"]["name"] in names else {} for q in asked["queries"]
        ]
        return {"results": vulns}

    return answer


def test_every_pin_is_asked_for() -> None:
    found = packages()
    names = {(one.ecosystem, one.name) for one in found}
    assert {
        ("PyPI", "aiokafka"),
        ("PyPI", "standardwebhooks"),
        ("PyPI", "uv"),
        ("Maven", "org.apache.kafka:kafka_2.13"),
    } <= names
    requirements = "".join((audit.FOLDER / f"{name}.txt").read_text() for name in ("requirements", "uv"))
    jars = (audit.FOLDER / "kafka.sha256").read_text().splitlines()
    assert len(found) == len(re.findall(r"^[a-z]\S+==", requirements, re.MULTILINE)) + len(jars)


def test_nothing_known(database: tuple[_Server, str], capsys: pytest.CaptureFixture[str]) -> None:
    server, url = database
    server.answering = knowing(CANARY.name)
    assert audit.main(url) == 0
    assert f"{len(packages())} packages and jars, 0 with known holes" in capsys.readouterr().out


def test_a_hole_is_named(database: tuple[_Server, str], capsys: pytest.CaptureFixture[str]) -> None:
    server, url = database
    server.answering = knowing(CANARY.name, "uvicorn", "org.apache.kafka:kafka_2.13")
    assert audit.main(url) == 1
    said = capsys.readouterr().out
    assert "PyPI uvicorn" in said
    assert "Maven org.apache.kafka:kafka_2.13" in said
    assert "https://osv.dev/vulnerability/GHSA-1" in said


def test_an_accepted_hole_is_none(database: tuple[_Server, str], monkeypatch: pytest.MonkeyPatch) -> None:
    server, url = database
    server.answering = knowing(CANARY.name, "uvicorn")
    monkeypatch.setitem(audit.ACCEPTED, "GHSA-1", "a test")
    with pytest.raises(audit.Unchecked):
        audit.holes([Package("PyPI", "uvicorn", "1")] * audit.AT_ONCE_MAX, url)
    assert audit.holes([Package("PyPI", "uvicorn", "1")], url) == {}


def paging(asked: dict[str, Any]) -> dict[str, Any]:
    """Of uvicorn all is on the second page; where it is asked for that, nobody else is."""
    answer: dict[str, Any] = knowing(CANARY.name)(asked)
    for query, result in zip(asked["queries"], answer["results"], strict=True):
        if query.get("page_token") == "second":
            assert len(asked["queries"]) == 1
            result["vulns"] = [{"id": "GHSA-2"}]
        elif query["package"]["name"] == "uvicorn":
            result["next_page_token"] = "second"
    return answer


def test_a_hole_on_the_second_page_is_named(database: tuple[_Server, str]) -> None:
    server, url = database
    server.answering = paging
    wanted = [Package("PyPI", "uvicorn", "1"), Package("PyPI", "uvloop", "1")]
    assert audit.holes(wanted, url) == {wanted[0]: ["GHSA-2"]}


def endless(asked: dict[str, Any]) -> dict[str, Any]:
    """Always another page."""
    return {"results": [{"vulns": [{"id": "GHSA-1"}], "next_page_token": "more"} for _ in asked["queries"]]}


@pytest.mark.parametrize(
    "answering",
    [
        pytest.param(knowing(), id="it knows nothing at all"),
        pytest.param(endless, id="it never comes to an end"),
        pytest.param(lambda _: {"results": []}, id="it answers nothing"),
        pytest.param(lambda _: {"error": "no"}, id="it answers something else"),
        pytest.param(lambda _: [], id="it answers a list"),
        pytest.param(lambda _: b"<html>", id="it answers a page"),
    ],
)
def test_a_database_that_cannot_be_believed(
    database: tuple[_Server, str], capsys: pytest.CaptureFixture[str], answering: Database
) -> None:
    server, url = database
    server.answering = answering
    assert audit.main(url) == 2
    assert "NOT CHECKED" in capsys.readouterr().err


def test_a_database_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main("http://127.0.0.1:1/") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("audit-deps: NOT CHECKED: the advisory database http://127.0.0.1:1/")
    assert said.err.count("\n") == 1
