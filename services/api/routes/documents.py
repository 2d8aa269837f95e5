"""`/openapi.json` and the pages for people, made once per process."""

from pathlib import Path

import msgspec
from litestar import get
from litestar.types import Scope

from services.api.answers import JSON, Answer, document
from services.api.call import Call
from services.api.documents import openapi
from services.api.documents import page as docs_page

_POLICY = b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_DOCUMENT = openapi.document()
_OPENAPI = msgspec.json.encode(_DOCUMENT)
_PAGES = {language.path: docs_page.render(_DOCUMENT, language) for language in docs_page.LANGUAGES}
_STYLE = (Path(__file__).parent.parent / "documents" / "static" / "docs.css").read_bytes()


@get("/openapi.json")
async def openapi_json(scope: Scope) -> Answer:
    return document(_OPENAPI, JSON)


@get(list(_PAGES))
async def page(scope: Scope) -> Answer:
    return _page(scope, _PAGES[scope["path"].rstrip("/")], b"text/html; charset=utf-8")


@get("/docs/docs.css")
async def style(scope: Scope) -> Answer:
    return _page(scope, _STYLE, b"text/css; charset=utf-8")


ROUTES = (openapi_json, page, style)


def _page(scope: Scope, body: bytes, media_type: bytes) -> Answer:
    call: Call = scope["state"]["call"]
    call.policy = _POLICY
    return document(body, media_type)
