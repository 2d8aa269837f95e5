"""The table of settings and the settings are the same."""

import json
import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from services.settings import Settings
from tests.docs.documents import ROOT, documents, name_of, rows

PREFIX = "WALLET_LEDGER_"
NAME = re.compile(rf"{PREFIX}[A-Z0-9_]+\*?")
NO_SETTINGS = {
    "WALLET_LEDGER_CACHE_DIR": "deploy/bootstrap.py",
    "WALLET_LEDGER_TEST_KAFKA": "tests/servers.py",
    "WALLET_LEDGER_TEST_POSTGRES": "tests/servers.py",
    "WALLET_LEDGER_TEST_SEED": "tests/seeds.py",
}
"""Variables that are read elsewhere, and where."""


def shown(default: object) -> str:
    """A default as the environment would say it."""
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    text = str(default) if isinstance(default, str | Path) else json.dumps(default)
    return f"`{text}`" if text else "empty"


def test_the_table_lists_every_setting_with_its_default() -> None:
    code = {PREFIX + name.upper(): shown(field.default) for name, field in Settings.model_fields.items()}
    table = {
        row[0].strip("`"): row[1]
        for row in rows(ROOT / "docs" / "operations.md")
        if row[0].startswith(f"`{PREFIX}")
    }
    assert table == code


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_every_variable_that_a_document_names_is_read_by_something(document: Path) -> None:
    settings = {PREFIX + name.upper() for name in Settings.model_fields}
    for name in set(NAME.findall(document.read_text())):
        if name.endswith("*"):
            assert any(known.startswith(name[:-1]) for known in settings), name
        else:
            assert name in settings or name in NO_SETTINGS, name


@pytest.mark.parametrize(("name", "file"), NO_SETTINGS.items())
def test_the_other_variables_are_read_where_we_say(name: str, file: str) -> None:
    assert f'"{name}"' in (ROOT / file).read_text()
