"""Fixtures of the ledger's unit tests."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[structlog.typing.EventDict]]:
    """What was logged, instead of printing it."""
    with structlog.testing.capture_logs() as captured:
        yield captured
