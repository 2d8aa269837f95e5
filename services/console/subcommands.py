"""`wallet-ledger keys …` and `wallet-ledger events …`: their options and help."""

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

AWAITED_SECONDS_MAX = 180.0
AWAITED_EVERY_SECONDS = 0.02

keys = typer.Typer(
    no_args_is_help=True,
    help="API keys (not data keys): made, listed, rotated, revoked. A secret is shown once.",
)
events = typer.Typer(no_args_is_help=True, help="The facts in `ledger.events`.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Business = Annotated[str, typer.Option(help="Whose customers the key reaches, e.g. bus_dev.")]
Mode = Annotated[str, typer.Option(help="test or live: their data never meet.")]


def serve(module: str, *required: str) -> None:
    """Run a service until it is told to stop; its exit code is ours.

    Loading takes a second of processor time: whoever starts Kafka at the same time has it done meanwhile.
    """
    from importlib import import_module

    from services.console.mistakes import load

    settings = load(*required)
    run: Callable[[Any], int] = import_module(module).main
    if settings.starts_when:
        await_file(Path(settings.starts_when), AWAITED_SECONDS_MAX)
    raise typer.Exit(run(settings))


def await_file(path: Path, seconds_max: float) -> None:
    """Returns when it is there.

    Raises:
        TimeoutError: it did not come.
    """
    deadline = time.monotonic() + seconds_max
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path.name} did not come in {seconds_max:g} s")
        time.sleep(AWAITED_EVERY_SECONDS)


def quiet_clients() -> None:
    """Clients log what the command says in one line anyway."""
    import logging

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


@keys.command("create")
def keys_create(
    business: Business,
    name: Annotated[str, typer.Option(help="Where it is used; two live keys of a name allow rotation.")],
    mode: Mode = "test",
    scopes: Annotated[str, typer.Option(help="Some of read,write,refund,admin.")] = "read,write",
    expires: Annotated[datetime | None, typer.Option(help="UTC; default: never.")] = None,
    as_json: Json = False,
) -> None:
    """Make a key and show its secret, once: only a hash of it is stored.

    Reads `WALLET_LEDGER_VIEWS_DSN`.

        wallet-ledger keys create --business bus_dev --name development --scopes read,write
    """
    from services.console import keys as shown

    shown.create(business, mode, name, scopes.split(","), expires, as_json=as_json)


@keys.command("list")
def keys_list(
    business: Annotated[str | None, typer.Option(help="Only of this business.")] = None, as_json: Json = False
) -> None:
    """Show all keys, the dead ones too, without their secrets.

    Reads `WALLET_LEDGER_VIEWS_DSN`.

        wallet-ledger keys list --business bus_dev
    """
    from services.console import keys as shown

    shown.show(business, as_json=as_json)


@keys.command("rotate")
def keys_rotate(
    key_id: Annotated[str, typer.Argument(help="key_…, as `keys list` shows it.")],
    overlap_hours: Annotated[
        float, typer.Option(min=0, max=720, help="How long the present key lives on; 0: it ends now.")
    ] = 24,
    as_json: Json = False,
) -> None:
    """Make a second key of the same name, rights and expiry and show its secret, once; the present one ends by itself.

    A key that was rotated is not rotated again: rotate the new one.

    Reads `WALLET_LEDGER_VIEWS_DSN`.

        wallet-ledger keys rotate key_0123456789abcdef0123
    """
    from services.console import keys as shown

    shown.rotate(key_id, overlap_hours, as_json=as_json)


@keys.command("revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(help="key_…, as `keys list` shows it.")], as_json: Json = False
) -> None:
    """End a key: every api process refuses it within 5 seconds. Repeating changes nothing.

    Reads `WALLET_LEDGER_VIEWS_DSN`.

        wallet-ledger keys revoke key_0123456789abcdef0123
    """
    from services.console import keys as shown

    shown.revoke(key_id, as_json=as_json)


@events.command("tail")
def events_tail(
    shard: Annotated[int | None, typer.Option(min=0, help="Only this shard.")] = None,
    customer: Annotated[str | None, typer.Option(help="Only this customer (cus_…).")] = None,
    start: Annotated[str, typer.Option("--from", help="beginning or end.")] = "end",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as events come; Ctrl-C ends.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, max=1_000_000, help="Default from the end: 20.")] = None,
    as_json: Json = False,
) -> None:
    """Read `ledger.events`: the last events, or all from the beginning, checking the chain on the way.

    A line is time, position, type, customer, amount and balance; with `--json` the stored bytes of each event.
    Personal data stays sealed.

    Reads `WALLET_LEDGER_KAFKA_*` (or ready.json in `…_DATA_DIR`) and `…_SHARDS`.

        wallet-ledger events tail --customer cus_… --from beginning
    """
    from services.console.tail import Wanted, show

    if start not in ("beginning", "end"):
        raise typer.BadParameter("is beginning or end", param_hint="--from")
    quiet_clients()
    show(Wanted(shard, customer, start == "end", follow, limit), as_json=as_json)
