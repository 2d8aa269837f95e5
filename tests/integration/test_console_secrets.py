"""`keys` and `webhooks` on a real database: a secret is shown once, and only where it is made."""

import base64
import json
from collections.abc import Callable
from datetime import datetime

import pytest

from services.console import keys, webhooks
from services.migrate import migrate_database
from services.mistakes import ExitCode, Mistake

SHARDS = 4


@pytest.fixture
def says(
    database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[], str]:
    """What a command printed for machines."""
    dsn = database("console")
    migrate_database("views", dsn, SHARDS)
    monkeypatch.setenv("WALLET_LEDGER_VIEWS_DSN", dsn)
    monkeypatch.setenv("WALLET_LEDGER_WEBHOOK_SECRET_KEY", base64.b64encode(bytes(32)).decode())
    return lambda: capsys.readouterr().out


def test_a_key_is_rotated(says: Callable[[], str]) -> None:
    keys.create("bus_1", "live", "shop", ["read"], None, as_json=True)
    first = json.loads(says())
    keys.rotate(first["key_id"], 1, as_json=False)
    second = says().strip()
    assert second.startswith("wl_live_")
    assert second != first["api_key"]
    with pytest.raises(Mistake, match="was rotated already") as refused:
        keys.rotate(first["key_id"], 1, as_json=True)
    assert refused.value.exit_code is ExitCode.REFUSED
    keys.show("bus_1", as_json=True)
    shown = says()
    assert second not in shown
    assert {one["name"]: one["scopes"] for one in json.loads(shown)} == {"shop": ["read"]}
    assert sum(one["expires_at"] is None for one in json.loads(shown)) == 1


def test_a_key_that_ends_says_when(says: Callable[[], str], capsys: pytest.CaptureFixture[str]) -> None:
    keys.create("bus_1", "live", "shop", ["read"], datetime(2099, 1, 15), as_json=False)
    assert "may read, until 2099-01-1" in capsys.readouterr().err


def test_an_endpoint_is_made_rotated_and_revoked(says: Callable[[], str]) -> None:
    webhooks.create("bus_1", "live", "upstream", as_json=False)
    first = says().strip()
    webhooks.show(None, as_json=True)
    shown = says()
    [endpoint] = json.loads(shown)
    webhooks.rotate(endpoint["endpoint_id"], 24, as_json=True)
    second = json.loads(says())
    assert second["path"] == f"/webhooks/payments/{endpoint['endpoint_id']}"
    for secret in (first, second["secret"]):
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    webhooks.show("bus_1", as_json=False)
    shown += says()
    assert "until" in shown
    assert first not in shown
    assert second["secret"] not in shown
    with pytest.raises(Mistake, match="two secrets are live"):
        webhooks.rotate(endpoint["endpoint_id"], 24, as_json=True)
    webhooks.revoke(endpoint["endpoint_id"], as_json=False)
    with pytest.raises(Mistake, match="no such live endpoint") as refused:
        webhooks.rotate(endpoint["endpoint_id"], 0, as_json=True)
    assert refused.value.exit_code is ExitCode.REFUSED
