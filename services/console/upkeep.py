"""`wallet-ledger projections …`: their options and help."""

from typing import Annotated

import typer

from services.console.subcommands import Json, quiet_clients, serve

projections = typer.Typer(invoke_without_command=True)


@projections.callback()
def run(context: typer.Context) -> None:
    """Run the projections: facts become the tables that the API reads. Stops in order on SIGTERM.

    Reads `WALLET_LEDGER_KAFKA_*`, `…_VIEWS_DSN`, `…_KEYS_DSN`, `…_KEY_ENCRYPTION_KEY`, `…_SHARDS`,
    `…_INSTANCE` (where several run on one machine), `…_VERIFY_EVENTS_PER_SECOND`, `…_HTTP_HOST`,
    `…_PROJECTIONS_METRICS_PORT` (else `…_HTTP_PORT` and two).

        wallet-ledger projections
    """
    if context.invoked_subcommand is None:
        required = ("kafka_bootstrap", "views_dsn", "keys_dsn", "key_encryption_key")
        serve("services.projections.__main__", *required)


@projections.command("rebuild")
def projections_rebuild(
    processes: Annotated[int, typer.Option(min=0, max=64, help="0: one per core.")] = 0,
    afresh: Annotated[
        bool, typer.Option("--afresh", help="Drop what an unfinished rebuild left, and begin again.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make the read models again from `ledger.events`, while reads and writes go on, and put them in place.

    Fills shadow tables in the schema `rebuild`, builds their indexes, catches up and swaps them in one transaction.
    Killed at any moment and started again, it goes on. API keys, webhook endpoints and what intake remembers are kept.

    Reads `WALLET_LEDGER_KAFKA_*`, `…_VIEWS_DSN`, `…_KEYS_DSN`, `…_KEY_ENCRYPTION_KEY`, `…_SHARDS`.

        wallet-ledger projections rebuild
    """
    from services.console.projections import rebuild

    quiet_clients()
    rebuild(processes, afresh=afresh, as_json=as_json)


@projections.command("digest")
def projections_digest(as_json: Json = False) -> None:
    """Show a SHA-256 of each read model's rows: equal digests, equal tables.

    Reads `WALLET_LEDGER_VIEWS_DSN`.

        wallet-ledger projections digest
    """
    from services.console.projections import digest

    digest(as_json=as_json)
