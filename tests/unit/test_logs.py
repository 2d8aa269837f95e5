"""Every line says which service wrote it, and what was raised, without the values of variables."""

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


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("library", [True, False])
def test_an_exception_is_told_without_local_variables(
    as_json: bool, library: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(Settings(log_json=as_json), "ledger")
    log = logging.getLogger("faust") if library else structlog.get_logger()
    hidden = "".join(("hem", "lig"))
    try:
        raise ZeroDivisionError(len(hidden))
    except ZeroDivisionError:
        log.exception("it failed")
    said = capsys.readouterr().err
    assert "Logging error" not in said
    assert "it failed" in said
    assert "ZeroDivisionError" in said
    assert "test_logs.py" in said, "where"
    assert "hemlig" not in said
    assert said.count("\n") == 1 or not as_json
