"""How settings reach a child."""

import json
import os
from pathlib import Path

from pydantic import SecretStr

from services.settings import Settings


def forget_libpq() -> None:
    """So that no PG* variable (PGSSLMODE, PGSERVICE, …) adds to the DSNs of our own server: they say all there is to say."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


def environment(settings: Settings) -> dict[str, str]:
    """What a child needs so that its settings are the same as ours."""
    found = dict(os.environ) | {"PYTHONUNBUFFERED": "1"}
    for name, value in settings:
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
        elif isinstance(value, str | Path):
            text = str(value)
        else:
            text = json.dumps(value)
        found[f"WALLET_LEDGER_{name.upper()}"] = text
    return found
