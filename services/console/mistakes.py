"""What went wrong, for whoever can put it right: one line that names the variable, and an exit code."""

import json
import re
import ssl
from collections.abc import Iterator, Sequence
from errno import EACCES, EADDRINUSE, EADDRNOTAVAIL
from pathlib import Path
from socket import gaierror
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsError

from services.mistakes import ExitCode, Mistake
from services.settings import SERVED_PORTS, Settings

PREFIX = "WALLET_LEDGER_"
WRAPPING_KEYS = ("key_encryption_key", "webhook_secret_key")
DSNS = ("store_dsn", "views_dsn", "keys_dsn")
PROXIES = '["127.0.0.1", "fd00::/8"]'
_PROBE_SECONDS_MAX = 3


def load(*required: str) -> Settings:
    """The settings, with those that a command cannot do without.

    Raises:
        Mistake: names each variable that is missing or wrong, never its value.
    """
    try:
        settings = Settings()
    except (ValidationError, SettingsError) as error:
        raise Mistake(_unusable(error)) from error
    if missing := [name for name in required if not _text(settings, name)]:
        raise Mistake(f"not set: {_described(missing)}; `wallet-ledger up` needs none of them")
    for name in DSNS:
        if dsn := _text(settings, name):
            _check_dsn(name, dsn)
    if settings.kafka_ssl_cafile:
        _check_authorities(settings.kafka_ssl_cafile)
    for name in WRAPPING_KEYS:
        if text := _text(settings, name):
            _check_key(name, text)
    return settings


def beside(*required: str) -> Settings:
    """As `load`; where none of them is set, they are those of what `wallet-ledger up` runs in this data folder.

    All or none: settings of two installations must not meet.

    Raises:
        Mistake: as `load`, or nothing runs there.
    """
    settings = load()
    missing = [name for name in required if not _text(settings, name)]
    if not missing:
        return settings
    if len(missing) == len(required) and (left := _left(settings.data_dir)).keys() >= set(required):
        return Settings(**{name: left[name] for name in required})
    raise Mistake(
        f"not set: {_described(missing)}; or start `wallet-ledger up` "
        f"in {variable('data_dir')}={settings.data_dir}: then none of them is needed here"
    )


def _left(folder: Path) -> dict[str, Any]:
    """Settings of the `up` that runs there; none where nothing does."""
    from services.standalone.environment import forget_libpq
    from services.standalone.folder import Folder

    if not (ready := Folder(folder).told()):
        return {}
    if ready.get("embedded"):
        forget_libpq()
    databases = {f"{name}_dsn": dsn for name, dsn in ready["database"].items()}
    return {**ready.get("secrets", {}), **databases, "kafka_bootstrap": ready["kafka"]}


def _described(names: Sequence[str]) -> str:
    return "; ".join(f"{variable(name)} ({_about(name)})" for name in names)


def variable(field: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + field.upper()


def explain(error: BaseException) -> Mistake | None:
    """The mistake behind an exception; None where it is a defect of ours that deserves its traceback."""
    for cause in _causes(error):
        if isinstance(cause, Mistake):
            return cause
        found = _explain_servers(cause) or _explain_listening(cause)
        if found is not None:
            return found
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                yield from _causes(inner)
        error = error.__cause__  # not __context__: a defect met while handling a mistake is a defect


def _explain_servers(error: BaseException) -> Mistake | None:
    from aiokafka.errors import KafkaError
    from psycopg import OperationalError
    from psycopg.errors import InsufficientPrivilege, UndefinedTable

    from services.reading import Incomplete, Silent

    if isinstance(error, UndefinedTable | InsufficientPrivilege):
        cure = "run `wallet-ledger migrate`" if isinstance(error, UndefinedTable) else "grant it"
        return Mistake(
            f"PostgreSQL: {error.diag.message_primary}: {cure}, or correct {_listed(DSNS)}", ExitCode.MISFIT
        )

    if isinstance(error, Incomplete):
        return Mistake(str(error), ExitCode.MISFIT)
    if isinstance(error, Silent):
        return Mistake(f"{error}: its logs may say why", ExitCode.UNREACHABLE)
    if isinstance(error, KafkaError):
        return Mistake(_silent_kafka(type(error).__name__), ExitCode.UNREACHABLE)
    if isinstance(error, OperationalError):
        return Mistake(_unreachable_databases() or f"PostgreSQL: {_line(error)}", ExitCode.UNREACHABLE)
    return None


def _silent_kafka(why: str) -> str:
    settings = Settings()
    how = f"does not answer as {settings.kafka_security_protocol} ({why})"
    if settings.kafka_bootstrap:
        where = f"{variable('kafka_bootstrap')}={settings.kafka_bootstrap}"
        return f"Kafka at {where} {how}: start it, or correct the {variable('kafka_')}* variables"
    folder = f"{variable('data_dir')}={settings.data_dir}"
    address = _left(settings.data_dir).get("kafka_bootstrap")
    if address is None:
        return f"Kafka {how}: the `wallet-ledger up` in {folder}, whose it was, has ended"
    return f"Kafka at {address}, of the `wallet-ledger up` in {folder}, {how}: its logs may say why"


def _explain_listening(error: BaseException) -> Mistake | None:
    """Where a file is the matter, the error names it; clients wrap what they meet."""
    if not isinstance(error, OSError) or error.filename is not None:
        return None
    why = error.strerror or str(error)
    nowhere = why.startswith("could not bind on any address")  # EADDRNOTAVAIL in asyncio since Python 3.13
    if isinstance(error, gaierror) or nowhere or error.errno in (EADDRINUSE, EADDRNOTAVAIL, EACCES):
        return Mistake(
            f"cannot serve: {why}; correct {variable('http_host')}, or choose another port by {_listed(SERVED_PORTS)}"
        )
    return None


def _listed(fields: Sequence[str]) -> str:
    return f"{', '.join(map(variable, fields[:-1]))} or {variable(fields[-1])}"


def _unreachable_databases() -> str:
    """Which of the databases cannot be reached, and why: the exception does not say which it was."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    settings = Settings()
    lines = []
    for name in DSNS:
        dsn = _text(settings, name)
        if not dsn:
            continue
        try:
            psycopg.connect(dsn, connect_timeout=_PROBE_SECONDS_MAX).close()
        except psycopg.OperationalError as error:
            parts = conninfo_to_dict(dsn)
            where = f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"
            lines.append(f"PostgreSQL of {variable(name)} ({where}) cannot be used: {_line(error)}")
    return "; ".join(lines)


def _unusable(error: ValidationError | SettingsError) -> str:
    if isinstance(error, SettingsError):
        named = re.search(r'field "(\w+)"', str(error))
        return f"{variable(named[1])} is not JSON; e.g. {_example(named[1])}" if named else str(error)
    return "; ".join(
        f"{variable(str(found['loc'][0]))}: {found['msg'].removeprefix('Value error, ')}"
        for found in error.errors(include_input=False)
    )


def _example(name: str) -> str:
    return json.dumps(Settings.model_fields[name].default) if name != "http_trusted_proxies" else PROXIES


def _check_dsn(name: str, dsn: str) -> None:
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        parts = conninfo_to_dict(dsn)
        ports = str(parts.get("port", "5432")).split(",")
        usable = dsn.startswith(("postgresql://", "postgres://")) and all(port.isdigit() for port in ports)
    except ProgrammingError:
        usable = False
    if not usable:
        raise Mistake(f"{variable(name)} is not of the form postgresql://user:password@host:port/database")


def _check_authorities(path: str) -> None:
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        said = error.strerror or error
        raise Mistake(f"{variable('kafka_ssl_cafile')}={path} is no file of certificates: {said}") from error


def _check_key(name: str, text: str) -> None:
    from services.keyring import parse_kek

    try:
        parse_kek(text)
    except ValueError as error:
        raise Mistake(
            f"{variable(name)} is not 32 bytes in base64: `openssl rand -base64 32` makes one"
        ) from error


def _text(settings: Settings, name: str) -> str:
    value = getattr(settings, name)
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def _about(name: str) -> str:
    return Settings.model_fields[name].description or name


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
