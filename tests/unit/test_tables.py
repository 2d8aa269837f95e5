"""What a person reads of keys, endpoints and dead letters."""

from datetime import datetime, timedelta, timezone

import pytest

from services.console.tables import show_table, until


def test_nothing_is_cut_and_nothing_is_markup(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    row = ("key_" + "0" * 100, "acme:key:prod", "a[/b]", "[red]x")
    show_table(("key", "business", "name", "other"), [row])
    [line] = [line for line in capsys.readouterr().out.splitlines() if "key_" in line]
    assert [cell.strip() for cell in line.strip("│ ").split("│")] == list(row)


def test_an_end_is_told_in_utc() -> None:
    new_york = timezone(timedelta(hours=-5))
    assert until(datetime(2026, 12, 31, 19, 0, tzinfo=new_york)) == "until 2027-01-01 00:00 UTC"
