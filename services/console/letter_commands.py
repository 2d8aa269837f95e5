"""`wallet-ledger dead-letters …`: options and help."""

from typing import Annotated

import typer

from services.console.subcommands import Json, quiet_clients

letters = typer.Typer(
    no_args_is_help=True, help="Records that were put aside: look at them, send them in again."
)

SHOWN_MAX = 1_000

Code = Annotated[str | None, typer.Option(help="Only those with this code, e.g. PAYMENT_UNKNOWN.")]


@letters.command("list")
def letters_list(
    code: Code = None,
    limit: Annotated[int, typer.Option(min=1, max=SHOWN_MAX, help="The newest so many.")] = 50,
    as_json: Json = False,
) -> None:
    """Show where each was found and why it is here; the records themselves stay sealed.

    Reads `WALLET_LEDGER_KAFKA_*`.

        wallet-ledger dead-letters list --code INCOMPLETE
    """
    from services.console.letters import show_all

    quiet_clients()
    show_all(code, limit, as_json=as_json)


@letters.command("show")
def letters_show(letter: Annotated[int, typer.Argument(min=0, help="As `list` numbers them.")]) -> None:
    """Print the record as it was found. It may name people.

    Reads `WALLET_LEDGER_KAFKA_*`, `…_KEYS_DSN`, `…_KEY_ENCRYPTION_KEY`.

        wallet-ledger dead-letters show 7
    """
    from services.console.letters import show

    quiet_clients()
    show(letter)


@letters.command("redrive")
def letters_redrive(
    letters: Annotated[list[int] | None, typer.Argument(help="As `list` numbers them.")] = None,
    code: Code = None,
    every: Annotated[bool, typer.Option("--all", help="All of them, or all of the code.")] = False,
    as_json: Json = False,
) -> None:
    """Put records back to where they were found. What is known by now changes nothing.

    Reads `WALLET_LEDGER_KAFKA_*`, `…_KEYS_DSN`, `…_KEY_ENCRYPTION_KEY`.

        wallet-ledger dead-letters redrive 7 8
    """
    from services.console.letters import redrive

    if bool(letters) == every:
        raise typer.BadParameter("name letters, or say --all")
    quiet_clients()
    redrive(letters or [], code, as_json=as_json)
