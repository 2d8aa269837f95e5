"""What a person sees when everything runs: whatever an address, a path or an id looks like."""

from datetime import UTC, datetime

import pytest

from services.standalone.first_look import Entry, FirstLook
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
    entry = Entry(datetime(2026, 7, 1, tzinfo=UTC), ODD, "top_up", True, 500, 1500, "USD", ODD)
    look = FirstLook(1, ODD, {"USD": 1500, "INR": 1}, {"succeeded": 1}, [entry])
    welcome(voice, {"API": ADDRESS, "logs": ODD}, ADDRESS, "dp_test", "[::1]:9092", look)
    said = capsys.readouterr().out
    assert f" {ADDRESS} " in said
    assert said.count(f" {ODD} ") == 3, "the folder, the customer, the reference"
    assert "1 customers, whose wallets hold $15.00, ₹0.01." in said
    assert "+$5.00" in said
