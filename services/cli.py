"""The command line. Each command imports what it needs, so that each process starts fast."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from services.console.head_commands import heads
from services.console.letter_commands import letters
from services.console.subcommands import Json, events, keys, quiet_clients, serve
from services.console.upkeep import projections
from services.console.webhook_commands import webhooks

EPILOG = (
    "Settings are WALLET_LEDGER_* variables; a command's help names those it reads besides LOG_LEVEL, LOG_JSON and "
    "STARTS_WHEN. In the folder of a running `wallet-ledger up`, commands that end by themselves need none. "
    "Exit codes: 0 done, 1 a defect, 2 wrong use, 3 a setting is missing or wrong, 4 Kafka or PostgreSQL does not "
    "answer, 5 what is there does not fit (topics, shards, a broken chain), 6 the answer was no."
)

app = typer.Typer(
    name="wallet-ledger",
    help="Customer wallets as an event-sourced service on Kafka and PostgreSQL.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(keys, name="keys")
app.add_typer(events, name="events")
app.add_typer(heads, name="heads")
app.add_typer(projections, name="projections")
app.add_typer(letters, name="dead-letters")
app.add_typer(webhooks, name="webhooks")


def main() -> None:
    """Entry point: mistakes of people end in one line and an exit code, defects of ours in a traceback."""
    from services.console.mistakes import explain

    try:
        app(prog_name="wallet-ledger")
    except Exception as error:  # what is no mistake of a person's is raised again
        mistake = explain(error)
        if mistake is None:
            raise
        print(f"wallet-ledger: {mistake}", file=sys.stderr)
        sys.exit(int(mistake.exit_code))


@app.command()
def migrate(as_json: Json = False) -> None:
    """Bring the three databases to the schema that this version needs. Safe to run again.

    Reads `WALLET_LEDGER_STORE_DSN`, `…_VIEWS_DSN`, `…_KEYS_DSN` and `…_SHARDS`.

        wallet-ledger migrate
    """
    from services.console.mistakes import beside
    from services.migrate import migrate as run

    _lines(run(beside("store_dsn", "views_dsn", "keys_dsn")), as_json)


@app.command()
def topics(as_json: Json = False) -> None:
    """Make the Kafka topics that are missing and check all of them. Safe to run again.

    Partitions are for ever; replication is 3 with two copies in sync, or 1 where there are fewer than 3 brokers.

    Reads `WALLET_LEDGER_KAFKA_*` and `…_SHARDS`.

        WALLET_LEDGER_KAFKA_BOOTSTRAP=localhost:9092 wallet-ledger topics
    """
    from services.console.mistakes import beside
    from services.topics import ensure

    quiet_clients()
    _lines(ensure(beside("kafka_bootstrap")), as_json)


@app.command()
def ledger() -> None:
    """Run a ledger worker: decides commands, stores the facts, answers, publishes. Stops in order on SIGTERM.

    Any number may run; each shard has one owner, and another worker takes over within seconds.

    Reads `WALLET_LEDGER_KAFKA_*`, `…_STORE_DSN`, `…_KEYS_DSN`, `…_KEY_ENCRYPTION_KEY`, `…_REQUEST_HASH_SECRET`,
    `…_SHARDS`, `…_CURRENCIES`, `…_WALLET_RULES`, `…_ACKNOWLEDGE`, `…_VERIFY_EVENTS_PER_SECOND`, `…_INSTANCE` (a name),
    `…_HTTP_HOST`, `…_LEDGER_METRICS_PORT` (else `…_HTTP_PORT` and one).

        wallet-ledger ledger
    """
    required = ("kafka_bootstrap", "store_dsn", "keys_dsn", "key_encryption_key", "request_hash_secret")
    serve("services.ledger.__main__", *required)


@app.command()
def intake() -> None:
    """Run intake: what upstream services put on `payments.events` becomes facts of the ledger. Stops on SIGTERM.

    Any number may run; they share the partitions. What cannot be understood goes to `ledger.dead-letters`.

    Reads `WALLET_LEDGER_KAFKA_*`, `…_VIEWS_DSN`, `…_KEYS_DSN`, `…_KEY_ENCRYPTION_KEY`, `…_SHARDS`, `…_UPSTREAM_MODE`,
    `…_UPSTREAM_WAIT_SECONDS`, `…_INSTANCE` (where several run on one machine), `…_HTTP_HOST`, `…_INTAKE_METRICS_PORT`
    (else `…_HTTP_PORT` and three).

        wallet-ledger intake
    """
    serve("services.intake.__main__", "kafka_bootstrap", "views_dsn", "keys_dsn", "key_encryption_key")


@app.command()
def api() -> None:
    """Run the HTTP API. Stops in order on SIGTERM.

    Reads `WALLET_LEDGER_HTTP_*`, `…_KAFKA_*`, `…_VIEWS_DSN`, `…_SHARDS`, `…_CURRENCIES`, `…_USD_RATES`,
    `…_COMMAND_DEADLINE_SECONDS`, `…_READ_WAIT_SECONDS`, `…_WEBHOOK_SECRET_KEY`, `…_RATE_LIMIT_*`,
    `…_COMMANDS_IN_FLIGHT_MAX`, `…_BODY_BYTES_MAX`, `…_BULK_BODY_BYTES_MAX`, `…_EXPORT_ROWS_MAX`.

        WALLET_LEDGER_HTTP_PORT=8081 wallet-ledger api
    """
    serve("services.api.__main__", "kafka_bootstrap", "views_dsn")


@app.command()
def recover(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only look, and say what would be taken.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take back from `ledger.events` what a restored or failed-over event store lacks: events and receipts.

    Takes the same bytes, checks the chain, and never writes over anything. Workers may run: they refuse the shards
    concerned, and own them again within seconds after this. Killed and started again, it goes on.

    Reads `WALLET_LEDGER_KAFKA_*`, `…_STORE_DSN`, `…_KEYS_DSN`, `…_KEY_ENCRYPTION_KEY`, `…_SHARDS`.

        wallet-ledger recover --dry-run
    """
    from services.console.recovery import recover as run

    quiet_clients()
    run(dry=dry_run, as_json=as_json)


@app.command()
def verify(
    rate: Annotated[int, typer.Option(min=0, help="Events per second; 0: as fast as it goes.")] = 0,
    as_json: Json = False,
) -> None:
    """Check everything against everything: store, topic, chain, receipts, balances, trial balance, read models.

    Changes nothing, and may run at any time. A finding is told only if a second look confirms it.

    Reads `WALLET_LEDGER_KAFKA_*`, `…_STORE_DSN`, `…_VIEWS_DSN`, `…_KEYS_DSN`, `…_KEY_ENCRYPTION_KEY`, `…_SHARDS`.

        wallet-ledger verify
    """
    from services.console.verification import verify as run

    quiet_clients()
    run(rate, as_json=as_json)


@app.command()
def up() -> None:
    """Run everything on this machine: Kafka, PostgreSQL, ledger, projections, intake, api, and a business that is
    played (`wallet-ledger upstream`).

    Servers that the settings name are used, the others are started. Once all answers, `ready.json` in the data
    folder holds `base_url, api_key, kafka, database, embedded, secrets`. Ctrl-C stops everything; the data stays.

    Reads every `WALLET_LEDGER_*` variable, above all `…_DATA_DIR` and `…_HTTP_PORT`.

        WALLET_LEDGER_HTTP_PORT=9000 wallet-ledger up
    """
    from services.console.mistakes import load
    from services.standalone.up import up as run

    raise typer.Exit(run(load()))


@app.command()
def upstream(
    seed: Annotated[int, typer.Option(help="Another seed is another life of the business.")] = 1,
    days: Annotated[int, typer.Option(min=0, max=366, help="Play the last days, up to now.")] = 28,
    rate: Annotated[int, typer.Option(min=1, max=1_000_000, help="Visits a day.")] = 270,
    speed: Annotated[
        int, typer.Option(min=0, help="Played seconds per real second; 0: as fast as it goes.")
    ] = 0,
    follow: Annotated[
        int,
        typer.Option(
            "--follow", "-f", min=0, max=1_000_000, help="Then go on in real time, with so many visits a day."
        ),
    ] = 0,
    business: Annotated[str, typer.Option(help="Whose payments they are.")] = "bus_dev",
    mode: Annotated[str, typer.Option(help="test or live.")] = "test",
    clean: Annotated[bool, typer.Option("--clean", help="In order, each once, nothing unknown.")] = False,
    journal: Annotated[Path | None, typer.Option(help="Keep here how far it is, and go on.")] = None,
    as_json: Json = False,
) -> None:
    """A demonstration with invented money: play a payment service and its shop.

    What happens, from top-ups to disputes, is told on `payments.events` as webhooks tell it: some twice, some late. Its
    shop spends and gives credit by commands on `ledger.commands`. One seed is one life. Ledger and intake must run.

    Reads `WALLET_LEDGER_KAFKA_*` (or ready.json in `…_DATA_DIR`) and `…_SHARDS`.

        wallet-ledger upstream --days 28
        wallet-ledger upstream --days 7 --speed 3600
        wallet-ledger upstream --days 0 --follow 4000 --journal upstream.json
    """
    from services.console.upstream import upstream as run
    from services.upstream.play import Score

    if mode not in ("test", "live"):
        raise typer.BadParameter("is test or live", param_hint="--mode")
    quiet_clients()
    score = Score(seed, business, mode, days, rate, speed, follow, clean, journal)
    run(score, as_json=as_json)


@app.command()
def version(as_json: Json = False) -> None:
    """Show the version: that of the installed package."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        found = installed("wallet-ledger")
    except PackageNotFoundError:
        found = "not installed"
    print(json.dumps({"version": found}) if as_json else found)


def _lines(lines: list[str], as_json: bool) -> None:
    print(json.dumps({"done": lines}) if as_json else "\n".join(lines))


if __name__ == "__main__":
    main()
