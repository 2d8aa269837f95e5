"""Schemas and the AsyncAPI document are what the code says, and show nothing that lives in memory only."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given

from events import codec, generate
from events.commands import ASKS, AnyAsk
from events.facts import FACTS, AnyFact
from events.topics import TOPICS
from tests.unit.events import strategies


def test_what_is_checked_in_is_what_the_code_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 0, capsys.readouterr().out


def test_check_says_what_differs(tmp_path: Path) -> None:
    made = generate.documents()
    generate.write(made, tmp_path)
    assert generate.differences(made, tmp_path) == []
    (tmp_path / "reply.json").unlink()
    (tmp_path / "facts" / "wallet.lost.v1.json").write_text("{}")
    envelope = tmp_path / "envelope.json"
    envelope.write_text(envelope.read_text().replace('"Envelope"', '"Envelop"'))
    lines = generate.differences(made, tmp_path)
    assert lines[:3] == [
        "missing: reply.json",
        "left over: facts/wallet.lost.v1.json",
        "other: envelope.json",
    ]
    assert '    -  "title": "Envelop",' in lines


def test_generating_twice_gives_the_same_bytes() -> None:
    assert generate.documents() == generate.documents()


@pytest.mark.parametrize("path", sorted(generate.documents()))
def test_nothing_of_memory_only_is_published(path: str) -> None:
    text = generate.documents()[path]
    assert '"personal"' not in text
    assert "\\\\Z" not in text, "the end of a text is $ in ECMA 262"
    assert "\\n    " not in text, "docstrings as Python 3.13 has them, whatever Python this is"


@pytest.mark.parametrize("path", sorted(path for path in generate.documents() if path != "asyncapi.json"))
def test_each_schema_is_one(path: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(generate.documents()[path]))


def _references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [found for value in part.values() for found in _references(value)]
    return [found for item in part for found in _references(item)] if isinstance(part, list) else []


def test_the_asyncapi_document_names_all_topics_and_types_and_its_references_lead_somewhere() -> None:
    document = json.loads(generate.documents()["asyncapi.json"])
    assert {channel["address"] for channel in document["channels"].values()} == {
        topic.name for topic in TOPICS
    }
    assert set(document["components"]["messages"]) >= set(FACTS) | set(ASKS) | {"reply"}
    assert "de-duplicate by (source, sequence)" in document["channels"]["ledgerEvents"]["description"]
    for reference in _references(document):
        found = document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]


documents = cache(generate.documents)


@given(strategies.facts)
def test_every_fact_fits_its_schema(fact: AnyFact) -> None:
    schema = json.loads(documents()[f"facts/{fact.TYPE}.json"])
    jsonschema.validate(json.loads(bytes(codec.encode_fact(fact))), schema)


@given(strategies.asks)
def test_every_command_fits_its_schema(ask: AnyAsk) -> None:
    schema = json.loads(documents()[f"commands/{ask.TYPE}.json"])
    jsonschema.validate(json.loads(bytes(codec.encode_ask(ask))), schema)
