"""The command line teaches, and an operator's mistake ends in one line with an exit code, never in a traceback."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from errno import EACCES
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
import typer.main
from aiokafka.errors import KafkaConnectionError
from pydantic import SecretStr

from services import cli, health
from services.console.mistakes import beside, explain, load
from services.ledger.failures import WrongStore
from services.mistakes import ExitCode, Mistake, WrongShards
from services.settings import Settings
from services.standalone.folder import Folder, write_private
from services.topics import WrongTopic

SECRET = "hemlig-och-lang"
KEK = "A" * 43 + "="
NOWHERE = f"postgresql://ledger:{SECRET}@127.0.0.1:1/nothing"


class Said(NamedTuple):
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: object) -> Run:
    """Run `wallet-ledger …` in this process, with exactly these settings."""
    monkeypatch.setenv("WALLET_LEDGER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")

    def run_it(line: str, **settings: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["wallet-ledger", *line.split()])
        for name, value in settings.items():
            monkeypatch.setenv(f"WALLET_LEDGER_{name}", value)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return Said(int(ended.value.code or 0), out, err)

    return run_it


def _commands(command: object = None, path: str = "") -> list[str]:
    """Every command by its words."""
    command = command or typer.main.get_command(cli.app)
    below = getattr(command, "commands", {})
    itself = [path] if getattr(command, "invoke_without_command", True) else []
    return itself + [f for name, inner in below.items() for f in _commands(inner, f"{path} {name}".strip())]


def test_all_commands_are_there() -> None:
    assert set(_commands()) == {
        "migrate", "topics", "ledger", "projections", "api", "up", "upstream", "version",
        "keys create", "keys list", "keys rotate", "keys revoke", "events tail",
        "heads sign", "heads check",
        "dead-letters list", "dead-letters show", "dead-letters redrive", "intake",
        "webhooks create", "webhooks list", "webhooks rotate", "webhooks revoke",
        "projections rebuild", "projections digest", "recover", "verify",
    }  # fmt: skip


@pytest.mark.parametrize("command", [name for name in _commands() if name != "version"])
def test_help_teaches(command: str, run: Run) -> None:
    said = run(f"{command} --help")
    assert said.code == 0
    assert "WALLET_LEDGER_" in said.out, "which settings it reads"
    assert f"wallet-ledger {command}" in " ".join(said.out.split()), "an example"


def test_help_lists_the_exit_codes(run: Run) -> None:
    said = " ".join(run("--help").out.split())
    for code in ExitCode:
        assert f"{code.value} " in said


def test_version_for_machines(run: Run) -> None:
    assert set(json.loads(run("version --json").out)) == {"version"}


@pytest.mark.parametrize(
    "line", ["", "fly", "migrate --fast", "events tail --from middle", "keys revoke", "upstream --mode dev"]
)
def test_wrong_use_is_told_apart(line: str, run: Run) -> None:
    assert run(line).code == 2


def expect(said: Said, code: ExitCode, *words: str) -> None:
    """One line, on standard error, with these words and no secret."""
    assert said.code == code, said.err
    assert said.out == ""
    assert said.err.startswith("wallet-ledger: ")
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err
    assert SECRET not in said.err
    for word in words:
        assert word in said.err


@pytest.mark.parametrize(
    ("command", "variable"),
    [
        ("migrate", "WALLET_LEDGER_STORE_DSN"),
        ("topics", "WALLET_LEDGER_KAFKA_BOOTSTRAP"),
        ("ledger", "WALLET_LEDGER_REQUEST_HASH_SECRET"),
        ("projections", "WALLET_LEDGER_VIEWS_DSN"),
        ("api", "WALLET_LEDGER_KAFKA_BOOTSTRAP"),
        ("upstream", "WALLET_LEDGER_KAFKA_BOOTSTRAP"),
        ("keys list", "WALLET_LEDGER_VIEWS_DSN"),
        ("keys create --business b --name n", "WALLET_LEDGER_VIEWS_DSN"),
        ("webhooks list", "WALLET_LEDGER_VIEWS_DSN"),
        ("webhooks create --business b", "WALLET_LEDGER_VIEWS_DSN"),
        ("keys rotate key_x", "WALLET_LEDGER_VIEWS_DSN"),
        ("events tail", "WALLET_LEDGER_KAFKA_BOOTSTRAP"),
    ],
)
def test_a_missing_setting_is_named(command: str, variable: str, run: Run) -> None:
    expect(run(command), ExitCode.SETTINGS, variable)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PORT", "99999"),
        ("SHARDS", "many"),
        ("CURRENCIES", "USD"),
        ("CURRENCIES", '["usd"]'),
        ("CURRENCIES", '["ABC"]'),
        ("HTTP_HOST", ""),
        ("STORE_DSN", f"host=db password={SECRET}"),
        ("KEYS_DSN", f"postgresql://ledger:{SECRET}@db:port/keys"),
        ("KAFKA_SSL_CAFILE", "/dev/null"),
        ("KAFKA_SASL_USERNAME", "ledger"),
        ("KAFKA_SASL_PASSWORD", SECRET),
        ("USD_RATES", '{"USD": "1"}'),
        ("WEBHOOK_SECRET_KEY", SECRET),
        ("HTTP_TRUSTED_PROXIES", '["*"]'),
    ],
)
def test_a_wrong_setting_is_named_and_not_shown(name: str, value: str, run: Run) -> None:
    expect(
        run("topics", KAFKA_BOOTSTRAP="127.0.0.1:1", **{name: value}),
        ExitCode.SETTINGS,
        f"WALLET_LEDGER_{name}",
    )


@pytest.mark.parametrize(
    "bootstrap",
    [
        "kafka",
        "kafka:",
        ":9092",
        "127.0.0.1:1,kafka:port",
        "kafka:99999",
        "kafka:0",
        "a:1,",
        "::1:9092",
        "kafka://a:1",
    ],
)
def test_a_kafka_without_an_address(bootstrap: str, run: Run) -> None:
    expect(run("topics", KAFKA_BOOTSTRAP=bootstrap), ExitCode.SETTINGS, "WALLET_LEDGER_KAFKA_BOOTSTRAP: ")


@pytest.mark.parametrize(
    "bootstrap", ["", "kafka-1.example:9092, kafka_2:1", "[fd00::1]:9092,127.0.0.1:65535"]
)
def test_brokers_with_addresses(bootstrap: str) -> None:
    assert Settings(kafka_bootstrap=bootstrap).kafka_bootstrap == bootstrap.replace(" ", "")


@pytest.mark.parametrize("file", ["/nowhere.pem", "/dev/null"])
def test_a_file_without_certificates(file: str, run: Run) -> None:
    said = run("topics", KAFKA_BOOTSTRAP="127.0.0.1:1", KAFKA_SECURITY_PROTOCOL="SSL", KAFKA_SSL_CAFILE=file)
    expect(said, ExitCode.SETTINGS, "WALLET_LEDGER_KAFKA_SSL_CAFILE", "is no file of certificates")


@pytest.mark.parametrize(
    ("name", "protocol"),
    [("SASL_USERNAME", "SSL"), ("SASL_PASSWORD", "PLAINTEXT"), ("SSL_CAFILE", "SASL_PLAINTEXT")],
)
def test_a_login_or_an_authority_that_the_protocol_would_not_use(name: str, protocol: str, run: Run) -> None:
    user = {"KAFKA_SASL_USERNAME": "ledger"} if protocol.startswith("SASL") else {}
    said = run("topics", KAFKA_SECURITY_PROTOCOL=protocol, **user, **{f"KAFKA_{name}": SECRET})
    expect(
        said,
        ExitCode.SETTINGS,
        f"WALLET_LEDGER_KAFKA_{name}: it needs WALLET_LEDGER_KAFKA_SECURITY_PROTOCOL=",
    )


def test_a_login_without_a_user(run: Run) -> None:
    said = run("topics", KAFKA_SECURITY_PROTOCOL="SASL_SSL", KAFKA_SASL_PASSWORD=SECRET)
    expect(said, ExitCode.SETTINGS, "WALLET_LEDGER_KAFKA_SASL_USERNAME: SASL_SSL needs a user")


@pytest.mark.parametrize(
    ("name", "example"),
    [("CURRENCIES", '["USD", "INR"]'), ("USD_RATES", '{"USD": "1", "INR": "0.0112"}'),
     ("HTTP_TRUSTED_PROXIES", '["127.0.0.1", "fd00::/8"]')],
)  # fmt: skip
def test_what_is_not_json_is_told_what_would_be(name: str, example: str, run: Run) -> None:
    said = run("topics", KAFKA_BOOTSTRAP="127.0.0.1:1", **{name: "127.0.0.1"})
    expect(said, ExitCode.SETTINGS, f"WALLET_LEDGER_{name} is not JSON; e.g. {example}")


def test_a_port_above_all_others_is_not_any_other() -> None:
    """The system would take a port of its own choice for 65536, and tell nobody."""
    assert Settings(http_port=65_532).metrics_port("intake") == 65_535
    assert Settings(http_port=65_535, ledger_metrics_port=9).metrics_port("ledger") == 9
    with pytest.raises(Mistake, match="65536: set WALLET_LEDGER_LEDGER_METRICS_PORT"):
        Settings(http_port=65_535).metrics_port("ledger")


def test_a_key_encryption_key_that_is_none(run: Run) -> None:
    dsns = {f"{name}_DSN": NOWHERE for name in ("STORE", "VIEWS", "KEYS")}
    kek = {"KEY_ENCRYPTION_KEY": SECRET, "REQUEST_HASH_SECRET": SECRET, "KAFKA_BOOTSTRAP": "127.0.0.1:1"}
    expect(run("ledger", **dsns, **kek), ExitCode.SETTINGS, "WALLET_LEDGER_KEY_ENCRYPTION_KEY")


def test_a_webhook_secret_needs_its_key(run: Run) -> None:
    said = run("webhooks create --business b", VIEWS_DSN=NOWHERE)
    expect(said, ExitCode.SETTINGS, "WALLET_LEDGER_WEBHOOK_SECRET_KEY")


def test_a_kafka_that_is_not_there(run: Run) -> None:
    said = run("topics", KAFKA_BOOTSTRAP="127.0.0.1:1")
    expect(said, ExitCode.UNREACHABLE, "WALLET_LEDGER_KAFKA_BOOTSTRAP=127.0.0.1:1")


@pytest.mark.parametrize("command", ["migrate", "keys list"])
def test_a_database_that_is_not_there(command: str, run: Run) -> None:
    said = run(command, STORE_DSN=NOWHERE, VIEWS_DSN=NOWHERE, KEYS_DSN=NOWHERE)
    expect(said, ExitCode.UNREACHABLE, "WALLET_LEDGER_VIEWS_DSN", "127.0.0.1:1/nothing")


def test_a_played_business_without_kafka(run: Run) -> None:
    said = run("upstream --days 1 --json", KAFKA_BOOTSTRAP="127.0.0.1:1")
    expect(said, ExitCode.UNREACHABLE, "WALLET_LEDGER_KAFKA_BOOTSTRAP=127.0.0.1:1")


def test_what_does_not_fit() -> None:
    for error in (
        WrongTopic("topic x is missing"),
        WrongShards("32, not 8"),
        WrongStore("fsync = off"),
        psycopg.errors.UndefinedTable(),
    ):
        mistake = explain(error)
        assert mistake is not None
        assert mistake.exit_code is ExitCode.MISFIT


@pytest.mark.parametrize("kind", [psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege])
def test_a_database_that_may_be_another_names_its_variable(kind: type[Exception]) -> None:
    mistake = explain(kind())
    assert mistake is not None
    assert mistake.exit_code is ExitCode.MISFIT
    assert "WALLET_LEDGER_VIEWS_DSN" in str(mistake)


@pytest.mark.parametrize(("host", "reason"), [("127.0.0.1", "in use"), ("192.0.2.1", "assign|bind")])
async def test_an_address_that_cannot_be_served_is_told(host: str, reason: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=reason) as refused:
            await health.serve(host, port, dict)
    mistake = explain(refused.value)
    assert mistake is not None
    assert mistake.exit_code is ExitCode.SETTINGS
    for word in (host, str(port), "WALLET_LEDGER_HTTP_HOST", "WALLET_LEDGER_INTAKE_METRICS_PORT"):
        assert word in str(mistake)


def test_a_file_that_cannot_be_read_is_no_port() -> None:
    assert explain(PermissionError(EACCES, "Permission denied", "/some/file")) is None
    assert explain(PermissionError(EACCES, "Permission denied")) is not None
    assert explain(socket.gaierror(-2, "Name or service not known")) is not None


def test_a_defect_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Settings:
        try:
            raise Mistake("met before")
        except Mistake:
            raise ZeroDivisionError  # noqa: B904 - a defect while a mistake is handled

    monkeypatch.setattr(sys, "argv", ["wallet-ledger", "topics"])
    monkeypatch.setattr("services.console.mistakes.Settings", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_a_mistake_inside_a_group_is_found() -> None:
    group = BaseExceptionGroup("tasks", [RuntimeError("first"), WrongTopic("topic x is missing")])
    assert str(explain(group)) == "topic x is missing"


def test_settings_are_read_once_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WALLET_LEDGER_KAFKA_BOOTSTRAP", "a:1,b:2")
    monkeypatch.setenv("WALLET_LEDGER_VIEWS_DSN", NOWHERE)
    settings = load("kafka_bootstrap", "views_dsn")
    assert settings.kafka_bootstrap == "a:1,b:2"
    assert settings.views_dsn == SecretStr(NOWHERE)
    assert SECRET not in repr(settings)


def test_a_process_starts_without_what_it_does_not_need() -> None:
    """Every service starts through this module; the supervisor starts each of them again and again."""
    heavy = ["aiokafka", "faust", "litestar", "psycopg", "pydantic", "sqlalchemy", "rich.progress"]
    program = f"import sys, services.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """What `up` writes while it runs."""
    monkeypatch.setenv("WALLET_LEDGER_DATA_DIR", str(tmp_path))
    databases = {name: f"postgresql://ledger:left@127.0.0.1:5/{name}" for name in ("store", "views", "keys")}
    secrets = {"key_encryption_key": KEK}
    folder = Folder(tmp_path)
    with folder.opened():
        write_private(folder.ready, {"kafka": "127.0.0.1:7", "database": databases, "secrets": secrets})
        folder.remember(key_encryption_key="of another configuration")
        yield folder.ready


def test_an_operators_command_works_beside_up(left: Path) -> None:
    settings = beside("kafka_bootstrap", "store_dsn", "key_encryption_key")
    assert settings.kafka_bootstrap == "127.0.0.1:7"
    assert settings.store_dsn.get_secret_value() == "postgresql://ledger:left@127.0.0.1:5/store"
    assert settings.key_encryption_key.get_secret_value() == KEK, "the one that `up` uses"


def test_settings_of_two_installations_do_not_meet(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WALLET_LEDGER_STORE_DSN", NOWHERE)
    assert beside("store_dsn").store_dsn.get_secret_value() == NOWHERE
    with pytest.raises(Mistake, match=r"not set: WALLET_LEDGER_KAFKA_BOOTSTRAP .*`wallet-ledger up`"):
        beside("kafka_bootstrap", "store_dsn")


def test_services_take_nothing_from_beside(left: Path) -> None:
    with pytest.raises(Mistake, match="WALLET_LEDGER_STORE_DSN"):
        load("store_dsn")


def test_what_an_up_left_that_was_killed_counts_for_nothing(left: Path, tmp_path: Path, run: Run) -> None:
    killed = Folder(tmp_path / "killed")
    with killed.opened():
        pass
    killed.ready.write_bytes(left.read_bytes())
    said = run("events tail", DATA_DIR=str(killed.path))
    expect(said, ExitCode.SETTINGS, "not set: WALLET_LEDGER_KAFKA_BOOTSTRAP", "start `wallet-ledger up`")
    assert killed.told() == {}
    assert Folder(tmp_path / "never").told() == {}
    assert Folder(left).told() == {}, "a file"


def test_a_kafka_beside_that_does_not_answer_is_named(left: Path, run: Run) -> None:
    said = run("dead-letters list")
    expect(
        said,
        ExitCode.UNREACHABLE,
        "Kafka at 127.0.0.1:7, of the `wallet-ledger up` in WALLET_LEDGER_DATA_DIR=",
    )
    assert "KAFKA_BOOTSTRAP" not in said.err, "it is not set, and not the matter"


def test_a_kafka_beside_that_has_ended_meanwhile(run: Run) -> None:
    mistake = explain(KafkaConnectionError())
    assert mistake is not None
    assert "the `wallet-ledger up` in WALLET_LEDGER_DATA_DIR=" in str(mistake)
    assert "KAFKA_BOOTSTRAP" not in str(mistake)
