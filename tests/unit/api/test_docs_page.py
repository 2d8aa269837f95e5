"""The pages of documentation: whole, in both languages, and usable without sight or mouse."""

import re
from html import escape
from typing import Any

import httpx
import pytest

from services.api.documents.openapi import document
from services.api.documents.operations import OPERATIONS
from services.api.documents.page import LANGUAGES, Language, render

NOT_WORDS = re.compile(r"`[^`]+`|\b[a-z]+_[a-z_]+|\b[1-5][0-9]{2}\b")
"""Code, names and statuses: the same in every language."""


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.code)
async def test_a_page_needs_nothing_from_elsewhere(client: httpx.AsyncClient, language: Language) -> None:
    page = await client.get(language.path)
    assert f'<html lang="{language.code}">' in page.text
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    assert not re.search(r"<script|<style|style=|onclick|javascript:|https?://", page.text)
    links = set(re.findall(r'(?:href|src)="([^"]+)"', page.text))
    for link in links:
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in page.text, link
        else:
            assert (await client.get(link)).status_code == 200, link
    style = await client.get("/docs/docs.css")
    assert style.headers["content-type"] == "text/css; charset=utf-8"
    assert not re.search(r"https?:|@import|url\(", style.text)
    for operation in OPERATIONS:
        assert escape(language.texts.get(operation.summary, operation.summary)) in page.text
        assert operation.scope is None or f"<code>{operation.scope}</code>." in page.text


def test_every_text_of_the_page_is_there_in_vietnamese_and_no_other() -> None:
    class Asked(dict[str, str]):
        def get(self, text: str, default: Any = None) -> Any:
            self[text] = text
            return default

    asked = Asked()
    render(document(), Language("xx", "none", "/", asked))
    vietnamese = LANGUAGES[1].texts
    assert vietnamese.keys() == asked.keys() - {""}
    for english, text in vietnamese.items():
        assert text
        assert sorted(NOT_WORDS.findall(text)) == sorted(NOT_WORDS.findall(english)), english


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.code)
async def test_no_two_regions_of_a_page_have_one_name(client: httpx.AsyncClient, language: Language) -> None:
    """Whoever hears the page goes from one to the other by name."""
    names = re.findall(r'role="region" aria-label="([^"]+)"', (await client.get(language.path)).text)
    assert len(names) == len(set(names)) > len(OPERATIONS)
