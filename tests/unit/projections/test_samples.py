"""Renewing the planner's samples: what keeps it from being done is tried again."""

import asyncio

import psycopg
import pytest
from structlog.testing import capture_logs

from services.projections import samples
from services.projections.samples import NotOwned, Samples


@pytest.mark.timeout(20)
async def test_what_was_not_renewed_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: list[Exception | None] = [
        NotOwned("permission denied to analyze"),
        psycopg.OperationalError("away"),
        None,
    ]
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def renew(_: str) -> bool:
        if (outcome := outcomes.pop(0)) is not None:
            raise outcome
        loop.call_soon_threadsafe(done.set)
        return True

    monkeypatch.setattr(samples, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(samples, "renew", renew)
    due = Samples("")
    with capture_logs() as logged:
        renewing = asyncio.create_task(due.renew_forever())
        await done.wait()
        renewing.cancel()
    assert [line["why"] for line in logged] == ["permission denied to analyze", "OperationalError"]
    assert (outcomes, due.due) == ([], False)
