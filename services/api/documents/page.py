"""The API's documentation as pages of plain HTML, one for each language: no script, no style but our own file, nothing
from elsewhere."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from babel.messages.pofile import read_po

from events.portable import Json

_JSON = "application/json"
_STATIC = Path(__file__).parent / "static"
_INTRODUCTION = (
    "Send your API key as `Authorization: Bearer wl_…`. Amounts are whole minor units (cents, paise). "
    'Errors are `{"code", "message"}`.',
    "Repeat a write safely by sending the same `Idempotency-Key`. A write answers with its `Ledger-Position`; "
    "a read that carries it shows the write, or says `NOT_YET_VISIBLE`.",
)
_RULES = {
    "minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most",
    "minLength": "characters from", "maxLength": "characters up to",
}  # fmt: skip


class Language(NamedTuple):
    """`texts`: what the page says in English, in this language; one that is missing stays English."""

    code: str
    name: str
    path: str
    texts: dict[str, str]


def _texts(code: str) -> dict[str, str]:
    with (_STATIC / f"docs.{code}.po").open("rb") as file:
        return {str(message.id): str(message.string) for message in read_po(file) if message.id}


LANGUAGES = (
    Language("en", "English", "/docs", {}),
    Language("vi", "Tiếng Việt", "/docs/vi", _texts("vi")),
)


def render(document: Json, language: Language) -> bytes:
    """HTML in UTF-8."""
    return "".join(_Page(document, language).whole()).encode()


class _Page:
    """Its methods answer HTML, its parameters are text as it stands in the document."""

    def __init__(self, document: Json, language: Language) -> None:
        self._document = document
        self._language = language

    def whole(self) -> Iterator[str]:
        info = self._document["info"]
        title = escape(info["title"])
        yield f'<!doctype html><html lang="{self._language.code}"><head><meta charset="utf-8">'
        yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
        yield '<meta name="color-scheme" content="light dark">'
        yield f"<title>{title} API</title>"
        yield '<link rel="stylesheet" href="/docs/docs.css"></head><body>'
        yield f'<a class="skip" href="#content">{self._say("Skip to content")}</a>'
        yield f"<header><h1>{title}</h1><p>{self._say('Version')} {escape(info['version'])} · "
        yield f'<a href="/openapi.json">openapi.json</a>{"".join(self._others())}</p></header>'
        yield f'<div class="columns">{self._navigation()}<main id="content" tabindex="-1">'
        yield f"<section><h2>{self._say('Start')}</h2>"
        yield from (f"<p>{self._say(text)}</p>" for text in _INTRODUCTION)
        yield "</section>"
        yield from self._operations()
        yield from self._schemas()
        yield "</main></div></body></html>"

    def _say(self, text: str) -> str:
        """Escaped, in the page's language, with `this` as code."""
        pieces = escape(self._language.texts.get(text, text)).split("`")
        return "".join(
            piece if place % 2 == 0 else f"<code>{piece}</code>" for place, piece in enumerate(pieces)
        )

    def _others(self) -> Iterator[str]:
        for code, name, path, _ in LANGUAGES:
            if code != self._language.code:
                yield f' · <a href="{path}" lang="{code}" hreflang="{code}">{name}</a>'

    def _navigation(self) -> str:
        groups = []
        for tag in self._document["tags"]:
            links = "".join(
                f'<li><a href="#{operation["operationId"]}"><span class="method {method}">{method.upper()}</span> '
                f"{self._say(operation['summary'])}</a></li>"
                for _, method, operation in self._of_tag(tag["name"])
            )
            groups.append(f"<h2>{self._say(tag['name'])}</h2><ul>{links}</ul>")
        names = "".join(
            f'<li><a href="#schema-{name}">{name}</a></li>'
            for name in self._document["components"]["schemas"]
        )
        return (
            f'<nav aria-label="{self._say("Contents")}">{"".join(groups)}'
            f"<h2>{self._say('Shapes')}</h2><ul>{names}</ul></nav>"
        )

    def _of_tag(self, tag: str) -> Iterator[tuple[str, str, Json]]:
        for path, methods in self._document["paths"].items():
            for method, operation in methods.items():
                if tag in operation["tags"]:
                    yield path, method, operation

    def _operations(self) -> Iterator[str]:
        for tag in self._document["tags"]:
            yield f"<section><h2>{self._say(tag['name'])}</h2><p>{self._say(tag['description'])}</p>"
            for path, method, operation in self._of_tag(tag["name"]):
                yield f'<article id="{operation["operationId"]}"><h3>{self._say(operation["summary"])}</h3>'
                yield f'<p class="route"><span class="method {method}">{method.upper()}</span> '
                yield f"<code>{escape(path)}</code></p>"
                if "description" in operation:
                    yield f"<p>{self._say(operation['description'])}</p>"
                yield from self._scopes(operation)
                yield self._parameters(operation)
                yield self._bodies(operation)
                yield "</article>"
            yield "</section>"

    def _scopes(self, operation: Json) -> Iterator[str]:
        for scopes in (scheme["key"] for scheme in operation["security"]):
            yield f"<p>{self._say('Needs a key with the scope')} <code>{escape(' '.join(scopes))}</code>.</p>"

    def _parameters(self, operation: Json) -> str:
        rows = [
            (
                parameter["name"],
                parameter["in"],
                self._type(parameter["schema"]),
                self._say(parameter["description"]),
            )
            for parameter in operation.get("parameters", ())
        ]
        return self._table(
            self._say(operation["summary"]), "Parameters", ("Name", "In", "Type", "Meaning"), rows
        )

    def _bodies(self, operation: Json) -> str:
        html = ""
        if "requestBody" in operation:
            html += f"<p>{self._say('Request body')}: {self._content(operation['requestBody'])}</p>"
        rows = [
            (status, self._meaning(response["description"]), self._content(response))
            for status, response in operation["responses"].items()
        ]
        return html + self._table(
            self._say(operation["summary"]), "Answers", ("Status", "Meaning", "Body"), rows
        )

    def _meaning(self, description: str) -> str:
        """Codes stay as they are, behind what the status is called."""
        phrase, colon, codes = description.partition(": ")
        return self._say(phrase) + colon + escape(codes)

    def _content(self, holder: Json) -> str:
        content = holder.get("content")
        if not content:
            return ""
        return f" {self._say('or')} ".join(
            self._type(kind["schema"]) if name == _JSON else escape(name) for name, kind in content.items()
        )

    def _schemas(self) -> Iterator[str]:
        yield f"<section><h2>{self._say('Shapes')}</h2>"
        for name, schema in self._document["components"]["schemas"].items():
            required = set(schema.get("required", ()))
            rows = [
                (
                    field,
                    self._type(kind),
                    self._say("required" if field in required else "optional"),
                    self._rule(kind),
                )
                for field, kind in schema.get("properties", {}).items()
            ]
            yield f'<article id="schema-{name}"><h3>{name}</h3><p>{self._say(schema.get("description", ""))}</p>'
            yield self._table(name, "Fields", ("Field", "Type", "Presence", "Rules"), rows) + "</article>"
        yield "</section>"

    def _type(self, schema: Json) -> str:
        if "$ref" in schema:
            name = escape(schema["$ref"].rpartition("/")[2])
            return f'<a href="#schema-{name}">{name}</a>'
        if "anyOf" in schema:
            return f" {self._say('or')} ".join(dict.fromkeys(self._type(kind) for kind in schema["anyOf"]))
        if "enum" in schema:
            return " ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
        if schema.get("type") == "array":
            return f"{self._say('list of')} {self._type(schema['items'])}"
        return escape(str(schema.get("format") or schema.get("type", "any")))

    def _rule(self, schema: Json) -> str:
        said: list[Any] = [self._say(schema["description"])] if "description" in schema else []
        said += [f"{self._say(words)} {schema[key]}" for key, words in _RULES.items() if key in schema]
        for kind in schema.get("anyOf", ()):
            said += [rule for rule in (self._rule(kind),) if rule]
        return "; ".join(dict.fromkeys(said))

    def _table(self, of: str, caption: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
        """`of` and cells are HTML. `of`: what it is about, or all tables would have the same few names."""
        if not rows:
            return ""
        titles = "".join(f'<th scope="col">{self._say(title)}</th>' for title in head)
        lines = "".join(
            f'<tr><th scope="row"><code>{row[0]}</code></th>'
            + "".join(f"<td>{cell}</td>" for cell in row[1:])
            + "</tr>"
            for row in rows
        )
        return (
            f'<div class="table" tabindex="0" role="region" aria-label="{of}: {self._say(caption)}">'
            f"<table><caption>{self._say(caption)}</caption>"
            f"<thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table></div>"
        )
