"""The app that Faust runs for us is the one that our settings make."""

from collections.abc import Mapping, Sequence

import faust
import pytest
from pydantic import SecretStr

from events.topics import PAYMENTS
from services.reading import Record
from services.receiving import CheckpointApp, Reading, make_app
from services.settings import Settings


async def _offsets() -> Mapping[int, int]:
    return {}


async def _receive(_: Sequence[Record]) -> None:
    """Nothing comes."""


def made() -> CheckpointApp:
    settings = Settings(
        kafka_bootstrap="kafka-1:9092,kafka-2:9092",
        kafka_security_protocol="SASL_PLAINTEXT",
        kafka_sasl_username="ledger",
        kafka_sasl_password=SecretStr("hidden"),
    )
    return make_app(settings, Reading("ledger.events", "group", "agent"), "one", _offsets, _receive)


def shown(app: CheckpointApp) -> dict[str, str]:
    return {name: str(getattr(app.conf, name)) for name in app.conf.setting_names() if name != "reply_to"}


async def test_variables_of_others_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust has names for its variables that Celery, an image's build and many others use too."""
    alone = shown(made())
    assert alone["broker"] == "[URL('aiokafka://kafka-1:9092'), URL('aiokafka://kafka-2:9092')]"
    assert alone["consumer_group_instance_id"] == "one"
    names = {param.env_name for param in faust.Settings.SETTINGS.values() if param.env_name}
    assert {"BROKER_URL", "APP_VERSION", "WEB_PORT", "PROCESSING_GUARANTEE"} <= names
    for name in names - {"APP_ENV_PREFIX"}:  # it would give the others other names
        monkeypatch.setenv(name, "1.4.2")
    assert shown(made()) == alone


async def test_another_broker_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_URL", "kafka://elsewhere:9092")
    assert {url.host for url in made().conf.broker_consumer} == {"kafka-1", "kafka-2"}


async def test_who_waits_keeps_its_partitions_while_their_records_are_kept() -> None:
    """After 1,000 s, which is Faust's own, it would stand still until its watch ended it."""
    assert made().conf.broker_max_poll_interval >= PAYMENTS.retention_ms / 1_000
