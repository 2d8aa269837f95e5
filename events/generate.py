"""Write `events/schemas/` from the code, so that the published language has one source.

python -m events.generate           write
python -m events.generate --check   compare; exit code 1 and what differs
"""

import argparse
import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from events.asyncapi import asyncapi
from events.commands import ASKS, BULKS, Command
from events.dead_letters import SealedLetter
from events.envelope import Envelope
from events.facts import FACTS
from events.for_upstream import REQUESTS_BY_TYPE, RequestEvent
from events.portable import Json, portable
from events.replies import Reply

SCHEMAS = Path(__file__).parent / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
DIFFERENCES_SHOWN_MAX = 20


def documents() -> dict[str, str]:
    """Every generated file by its path below `schemas/`."""
    made: dict[str, Json] = {
        "envelope.json": schema(Envelope, "envelope"),
        "command-envelope.json": schema(Command, "command-envelope"),
        "reply.json": schema(Reply, "reply"),
        "dead-letter.json": schema(SealedLetter, "dead-letter"),
        "request-envelope.json": schema(RequestEvent, "request-envelope"),
        "asyncapi.json": asyncapi(components("#/components/schemas/{name}")),
    }
    made |= {f"facts/{name}.json": schema(fact, name) for name, fact in FACTS.items()}
    made |= {f"commands/{name}.json": schema(ask, name) for name, ask in (ASKS | BULKS).items()}
    made |= {
        f"requests/{name}.json": schema(asked, f"request:{name}") for name, asked in REQUESTS_BY_TYPE.items()
    }
    return {
        path: json.dumps(document, indent=2, ensure_ascii=False) + "\n" for path, document in made.items()
    }


def schema(struct: type, name: str) -> Json:
    """A self-contained JSON Schema (2020-12) of one struct in its public form."""
    _, parts = msgspec.json.schema_components([struct], ref_template="#/$defs/{name}")
    public = {title: _public(portable(part)) for title, part in parts.items()}
    body: Json = public.pop(struct.__name__)
    definitions: Json = {}
    while missing := {
        t: p for t, p in public.items() if t not in definitions and _refers(t, body, definitions)
    }:
        definitions |= missing
    definitions = {title: part for title, part in public.items() if title in definitions}
    head = {"$schema": DIALECT, "$id": f"urn:wallet-ledger:schema:{name}"}
    return {**head, **body, **({"$defs": definitions} if definitions else {})}


def _refers(title: str, *parts: Json) -> bool:
    return f'"#/$defs/{title}"' in json.dumps(parts)


def components(ref_template: str) -> Json:
    """The public form of every struct that travels, by the name of its class."""
    structs = [
        *(Envelope, Command, Reply, SealedLetter, RequestEvent),
        *FACTS.values(),
        *ASKS.values(),
        *BULKS.values(),
        *REQUESTS_BY_TYPE.values(),
    ]
    _, parts = msgspec.json.schema_components(structs, ref_template=ref_template)
    return {title: _public(portable(part)) for title, part in sorted(parts.items()) if title != "Personal"}


def _public(part: Any) -> Any:
    """Without what lives in memory only."""
    if isinstance(part, list):
        return [_public(item) for item in part]
    if not isinstance(part, dict):
        return part
    made = {key: _public(value) for key, value in part.items()}
    properties = made.get("properties")
    if isinstance(properties, dict):
        properties.pop("personal", None)
        if properties.get("data") == {}:
            properties["data"] = {"type": "object"}
    if made.get("required") == []:
        del made["required"]
    return made


def differences(made: Mapping[str, str], folder: Path) -> list[str]:
    """One line for each file that is missing, left over or other, with the first lines that differ."""
    found = {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.json"))}
    lines = [f"missing: {path}" for path in sorted(made.keys() - found.keys())]
    lines += [f"left over: {path}" for path in sorted(found.keys() - made.keys())]
    for path in sorted(made.keys() & found.keys()):
        if made[path] != found[path]:
            changed = difflib.unified_diff(
                found[path].splitlines(), made[path].splitlines(), n=0, lineterm=""
            )
            body = [line for line in changed if not line.startswith(("---", "+++", "@@"))]
            lines += [f"other: {path}", *(f"    {line}" for line in body[:DIFFERENCES_SHOWN_MAX])]
            if len(body) > DIFFERENCES_SHOWN_MAX:
                lines.append(f"    … {len(body) - DIFFERENCES_SHOWN_MAX} lines more")
    return lines


def write(made: Mapping[str, str], folder: Path) -> None:
    """Make the folder hold these files and no other schema."""
    for path in folder.rglob("*.json"):
        if str(path.relative_to(folder)) not in made:
            path.unlink()
    for name, text in made.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def main(arguments: list[str] | None = None) -> int:
    """The command line; answers the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare only")
    made = documents()
    if not parser.parse_args(arguments).check:
        write(made, SCHEMAS)
        print(f"{len(made)} files in {SCHEMAS.name}/")
        return 0
    lines = differences(made, SCHEMAS)
    if lines:
        print("events/schemas is not what the code says; run `python -m events.generate`:", *lines, sep="\n")
    return 1 if lines else 0


if __name__ == "__main__":
    raise SystemExit(main())
