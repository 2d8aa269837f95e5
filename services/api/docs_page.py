"""The API's documentation as one page of plain HTML: no script, no style but our own file, nothing from elsewhere."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from events.portable import Json

_JSON = "application/json"
_INTRODUCTION = """
<p>Send your API key as <code>Authorization: Bearer wl_…</code>. Amounts are whole minor units (cents, paise).
Errors are <code>{"code", "message"}</code>.</p>
<p>Repeat a write safely by sending the same <code>Idempotency-Key</code>. A write answers with its
<code>Ledger-Position</code>; a read that carries it shows the write, or says <code>NOT_YET_VISIBLE</code>.</p>
"""


def render(document: Json) -> bytes:
    """HTML in UTF-8."""
    info = document["info"]
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{escape(info['title'])} API</title>",
        '<link rel="stylesheet" href="/docs/docs.css"></head><body>',
        '<a class="skip" href="#content">Skip to content</a>',
        f"<header><h1>{escape(info['title'])}</h1><p>Version {escape(info['version'])} · "
        '<a href="/openapi.json">openapi.json</a></p></header>',
        '<div class="columns">',
        _navigation(document),
        f'<main id="content" tabindex="-1"><section><h2>Start</h2>{_INTRODUCTION}</section>',
        *_operations(document),
        *_schemas(document),
        "</main></div></body></html>",
    ]
    return "".join(parts).encode()


def _navigation(document: Json) -> str:
    groups = []
    for tag in document["tags"]:
        links = "".join(
            f'<li><a href="#{operation["operationId"]}"><span class="method {method}">{method.upper()}</span> '
            f"{escape(operation['summary'])}</a></li>"
            for _, method, operation in _of_tag(document, tag["name"])
        )
        groups.append(f"<h2>{escape(tag['name'])}</h2><ul>{links}</ul>")
    names = "".join(
        f'<li><a href="#schema-{name}">{name}</a></li>' for name in document["components"]["schemas"]
    )
    return f'<nav aria-label="Contents">{"".join(groups)}<h2>Shapes</h2><ul>{names}</ul></nav>'


def _of_tag(document: Json, tag: str) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if tag in operation["tags"]:
                yield path, method, operation


def _operations(document: Json) -> Iterator[str]:
    for tag in document["tags"]:
        yield f"<section><h2>{escape(tag['name'])}</h2><p>{escape(tag['description'])}</p>"
        for path, method, operation in _of_tag(document, tag["name"]):
            yield f'<article id="{operation["operationId"]}"><h3>{escape(operation["summary"])}</h3>'
            yield f'<p class="route"><span class="method {method}">{method.upper()}</span> <code>{escape(path)}</code></p>'
            if "description" in operation:
                yield f"<p>{_code(operation['description'])}</p>"
            yield _parameters(operation)
            yield _bodies(operation)
            yield "</article>"
        yield "</section>"


def _parameters(operation: Json) -> str:
    rows = [
        (parameter["name"], parameter["in"], _type(parameter["schema"]), escape(parameter["description"]))
        for parameter in operation.get("parameters", ())
    ]
    return _table(operation["summary"], "Parameters", ("Name", "In", "Type", "Meaning"), rows)


def _bodies(operation: Json) -> str:
    html = ""
    if "requestBody" in operation:
        html += f"<p>Request body: {_content(operation['requestBody'])}</p>"
    rows = [
        (status, escape(response["description"]), _content(response))
        for status, response in operation["responses"].items()
    ]
    return html + _table(operation["summary"], "Answers", ("Status", "Meaning", "Body"), rows)


def _content(holder: Json) -> str:
    content = holder.get("content")
    if not content:
        return ""
    return " or ".join(
        _type(kind["schema"]) if name == _JSON else escape(name) for name, kind in content.items()
    )


def _schemas(document: Json) -> Iterator[str]:
    yield "<section><h2>Shapes</h2>"
    for name, schema in document["components"]["schemas"].items():
        required = set(schema.get("required", ()))
        rows = [
            (field, _type(kind), "required" if field in required else "optional", escape(_rule(kind)))
            for field, kind in schema.get("properties", {}).items()
        ]
        yield f'<article id="schema-{name}"><h3>{name}</h3><p>{_code(schema.get("description", ""))}</p>'
        yield _table(name, "Fields", ("Field", "Type", "Presence", "Rules"), rows) + "</article>"
    yield "</section>"


def _type(schema: Json) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(kind) for kind in schema["anyOf"]))
    if "enum" in schema:
        return " ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    return escape(str(schema.get("format") or schema.get("type", "any")))


_RULES = {
    "minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most",
    "minLength": "characters from", "maxLength": "characters up to",
}  # fmt: skip


def _rule(schema: Json) -> str:
    said: list[Any] = [schema["description"]] if "description" in schema else []
    said += [f"{words} {schema[key]}" for key, words in _RULES.items() if key in schema]
    for kind in schema.get("anyOf", ()):
        said += [rule for rule in (_rule(kind),) if rule]
    return "; ".join(dict.fromkeys(said))


def _table(of: str, caption: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Cells are HTML. `of`: what it is about, or all tables would have the same few names."""
    if not rows:
        return ""
    titles = "".join(f'<th scope="col">{title}</th>' for title in head)
    lines = "".join(
        f'<tr><th scope="row"><code>{row[0]}</code></th>'
        + "".join(f"<td>{cell}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="table" tabindex="0" role="region" aria-label="{escape(of)}: {caption}">'
        f"<table><caption>{caption}</caption>"
        f"<thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _code(text: str) -> str:
    """Escaped text, with `this` as code."""
    pieces = escape(text).split("`")
    return "".join(piece if place % 2 == 0 else f"<code>{piece}</code>" for place, piece in enumerate(pieces))
