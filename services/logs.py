"""Structured logs: one event per line, never with personal data or secrets in it."""

import logging
import sys
import time
import traceback
from pathlib import Path

import structlog

from services.settings import Settings

FORBIDDEN = frozenset(
    {
        "name",
        "email",
        "phone_number",
        "metadata",
        "reason",
        "idempotency_key",
        "api_key",
        "authorization",
        "body",
    }
)
"""Field names that a log line must not have; whoever uses one gets its place in the line, not its value."""

REPEAT_SECONDS_MIN = 10.0
OURS = Path(__file__).parent


def configure(settings: Settings, service: str) -> None:
    """Send structlog and the standard library's loggers to standard error."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        _of(service),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.log_level.upper())),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendered(as_json=settings.log_json),
            ],
        )
    )
    handler.addFilter(Seldom())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    for noisy in ("aiokafka", "alembic", "faust", "mode", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _rendered(as_json: bool) -> list[structlog.types.Processor]:
    """Never with the values of local variables, which may be secrets."""
    if not as_json:
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=plain)]
    frames = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [structlog.processors.ExceptionRenderer(frames), structlog.processors.JSONRenderer()]


def _of(service: str) -> structlog.types.Processor:
    """No context variable does it: threads of Faust, and of aiokafka in them, have contexts of their own."""

    def named(_: object, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        event.setdefault("service", service)
        return event

    return named


class Seldom(logging.Filter):
    """A line of aiokafka's code speaks once in a while: without Kafka it would say so fifty times a second."""

    def __init__(self) -> None:
        super().__init__()
        self._spoken: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("aiokafka"):
            return True
        source, now = (record.pathname, record.lineno), time.monotonic()
        if now - self._spoken.get(source, -REPEAT_SECONDS_MIN) < REPEAT_SECONDS_MIN:
            return False
        self._spoken[source] = now
        return True


def redact(_: object, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """Processor: forbidden fields lose their value."""
    for field in FORBIDDEN & event.keys():
        event[field] = "[redacted]"
    return event


def without_text(error: BaseException) -> dict[str, str]:
    """Fields: type and place, which tell a defect of ours from a server that is away; the text may name people."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(OURS)]
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in (*frames[-1:], *ours[-1:])]
    return {"error": type(error).__name__, "place": " < ".join(dict.fromkeys(places))}
