"""`wallet-ledger heads …`: options and help."""

from pathlib import Path
from typing import Annotated

import typer

from services.console.subcommands import Json, quiet_clients

heads = typer.Typer(
    no_args_is_help=True, help="Sign where the log ends, and check it later: against who could rewrite it."
)


@heads.command("sign")
def heads_sign(
    key: Annotated[Path, typer.Option(help="Private key of Ed25519, PEM. Not kept where the ledger runs.")],
) -> None:
    """Print one line of JSON: the last event of each shard, signed. Keep it where nobody of the ledger can write.

    Needs no database: an auditor can do it, from a machine of theirs.

    Reads `WALLET_LEDGER_KAFKA_*` (or ready.json in `…_DATA_DIR`) and `…_SHARDS`.

        openssl genpkey -algorithm ed25519 -out heads.pem
        wallet-ledger heads sign --key heads.pem >> heads.jsonl
    """
    from services.console.heads import sign

    quiet_clients()
    sign(key)


@heads.command("check")
def heads_check(
    files: Annotated[list[Path], typer.Argument(help="Lines that `heads sign` printed.")],
    key: Annotated[Path, typer.Option(help="The public key, PEM.")],
    as_json: Json = False,
) -> None:
    """Read all of `ledger.events` and say whether every head that was signed is in it. Changes nothing.

    Exit code 5: a line was not signed by this key, or this is another log than the one that was signed.

    Reads `WALLET_LEDGER_KAFKA_*` (or ready.json in `…_DATA_DIR`) and `…_SHARDS`.

        openssl pkey -in heads.pem -pubout -out heads.pub
        wallet-ledger heads check heads.jsonl --key heads.pub
    """
    from services.console.heads import check

    quiet_clients()
    check(key, files, as_json=as_json)
