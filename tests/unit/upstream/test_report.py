"""What is said of a played business adds up."""

import pytest
from rich.console import Console

from events.replies import Outcome, Reply
from services.upstream.report import Report


def test_every_command_is_accounted_for(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    for outcome, replayed in (
        (Outcome.APPLIED, False), (Outcome.APPLIED, True), (Outcome.REFUSED, False), (Outcome.REFUSED, True),
        (Outcome.LATE, False),
    ):  # fmt: skip
        report.heard(Reply(correlation="c", outcome=outcome, replayed=replayed))
    assert (
        report.commands == report.applied + report.refused + report.replayed + sum(report.other.values()) == 5
    )
    report.show(Console(width=400, highlight=False))
    assert (
        "5 commands: 1 applied, 1 refused, 2 were repeats and got the answer of the first, 1 late"
        in capsys.readouterr().out
    )
