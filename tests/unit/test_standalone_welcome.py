"""What a person sees when everything runs: whatever an address, a path or an id looks like."""

import textwrap
from datetime import UTC, datetime
from unittest.mock import MagicMock

import certifi
import pytest

from services.kafka import client_options
from services.settings import Settings
from services.standalone.first_look import NOTHING_SEEN, Entry, FirstLook
from services.standalone.voice import Voice
from services.standalone.welcome import welcome

ADDRESS = "http://[fd00::1]:8080"
ODD = "a[/b] [red]x :key:"


@pytest.fixture
def voice(monkeypatch: pytest.MonkeyPatch) -> Voice:
    monkeypatch.setenv("COLUMNS", "200")
    return Voice()


def test_nothing_in_a_line_is_markup(voice: Voice, capsys: pytest.CaptureFixture[str]) -> None:
    voice.say(f"its files in {ODD}")
    assert capsys.readouterr().out.endswith(f" s  its files in {ODD}\n")


def test_nothing_that_is_shown_is_markup(voice: Voice, capsys: pytest.CaptureFixture[str]) -> None:
    entry = Entry(datetime(2026, 7, 1, tzinfo=UTC), "top_up", True, 500, 1500, "USD", ODD)
    look = FirstLook(1, ODD, {"USD": 1500, "INR": 1}, {"succeeded": 1}, [entry])
    welcome(
        voice, {"API": ADDRESS, "logs": ODD}, ADDRESS, "dp_test", Settings(kafka_bootstrap="[::1]:9092"), look
    )
    said = capsys.readouterr().out
    assert f" {ADDRESS} " in said
    assert said.count(f" {ODD} ") == 2, "the folder, the reference"
    assert f"The last entries of {ODD}:\n" in said
    assert "1 customer, with wallets that hold $15.00, ₹0.01." in said
    assert "+$5.00" in said


CUSTOMER, REFERENCE = "cus_pBEyxQm1r8sT2vW3", "pay_0123456789abcdef0123"


def test_at_80_columns_ids_are_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    moment = datetime(2026, 7, 1, tzinfo=UTC)
    entry = Entry(moment, "payment_reversal", True, 12_345_600, 12_345_600, "USD", REFERENCE)
    look = FirstLook(1, CUSTOMER, {"USD": 12_345_600}, {"succeeded": 1}, [entry])
    welcome(Voice(), {"API": ADDRESS}, ADDRESS, "dp_test", Settings(kafka_bootstrap="k:1"), look)
    said = capsys.readouterr().out
    assert f"The last entries of {CUSTOMER}:\n" in said
    rows = [line.split("│") for line in said.splitlines() if line.startswith("│") and line.count("│") == 6]
    assert "".join(row[3].strip() for row in rows) == REFERENCE
    assert "CUSTOMER_ID" not in said


def test_without_a_customer_it_says_how_to_make_one_first(
    voice: Voice, capsys: pytest.CaptureFixture[str]
) -> None:
    welcome(voice, {"API": ADDRESS}, ADDRESS, "dp_test", Settings(kafka_bootstrap="k:1"), NOTHING_SEEN)
    said = capsys.readouterr().out
    first = said.index("CUSTOMER_ID below is the customer_id of the answer")
    assert (
        first < said.index(f"curl -s {ADDRESS}/customers \\") < said.index("/customers/CUSTOMER_ID/wallets")
    )
    assert "The last entries" not in said


@pytest.mark.parametrize(
    ("protocol", "more"),
    [
        ("PLAINTEXT", {}),
        ("SSL", {}),
        ("SASL_PLAINTEXT", {"kafka_sasl_username": 'o"neill', "kafka_sasl_password": "hidden"}),
        ("SASL_SSL", {"kafka_sasl_username": "me", "kafka_sasl_password": "hidden"}),
        ("SASL_SSL", {"kafka_sasl_username": "me", "kafka_ssl_cafile": certifi.where()}),
    ],
)
def test_the_script_that_publishes_reaches_kafka_as_we_do(
    voice: Voice,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    protocol: str,
    more: dict[str, str],
) -> None:
    how = {"kafka_bootstrap": "k:1,k:2", "kafka_security_protocol": protocol, **more}
    settings = Settings.model_validate(how)
    welcome(voice, {"API": ADDRESS}, ADDRESS, "dp_test", settings, NOTHING_SEEN)
    said = capsys.readouterr().out
    assert "hidden" not in said
    end = "asyncio.run(publish())"
    script = said[said.index("import asyncio, json") : said.index(end) + len(end)]
    producer = MagicMock()
    monkeypatch.setattr("aiokafka.AIOKafkaProducer", producer)
    password = settings.kafka_sasl_password.get_secret_value()
    monkeypatch.setenv("WALLET_LEDGER_KAFKA_SASL_PASSWORD", password)
    exec(textwrap.dedent(script), {})
    asked, ours = producer.call_args.kwargs, client_options(settings)
    ours["bootstrap_servers"] = settings.kafka_bootstrap
    assert {"security_protocol": "PLAINTEXT", **asked, "ssl_context": None} == {**ours, "ssl_context": None}
    assert isinstance(asked.get("ssl_context"), type(ours.get("ssl_context")))
