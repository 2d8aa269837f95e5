"""Every line says which service wrote it."""

import contextvars
import json
import logging
import threading
from collections.abc import Iterator

import pytest
import structlog

from services import logs
from services.settings import Settings


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_lines_of_libraries_and_of_other_threads_name_their_service(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(Settings(), "intake")

    def work() -> None:
        logging.getLogger("aiokafka.consumer").error("the group has no coordinator yet")
        structlog.get_logger().warning("own", sequence=7)

    thread = threading.Thread(target=lambda: contextvars.Context().run(work))
    thread.start()
    thread.join()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["service"]) for line in lines] == [
        ("the group has no coordinator yet", "intake"),
        ("own", "intake"),
    ]
