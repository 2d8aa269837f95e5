"""`wallet-ledger webhooks …`: options and help."""

from typing import Annotated

import typer

from services.console.subcommands import Json, Mode

webhooks = typer.Typer(
    no_args_is_help=True,
    help="Endpoints for upstream's webhooks: made, listed, rotated, revoked. A secret is shown once.",
)

EndpointId = Annotated[str, typer.Argument(metavar="ENDPOINT", help="whk_…, as `webhooks list` shows it.")]


@webhooks.command("create")
def webhooks_create(
    business: Annotated[str, typer.Option(help="Whose events come here, e.g. bus_dev.")],
    name: Annotated[str, typer.Option(help="Who delivers, for people.")] = "upstream",
    mode: Mode = "test",
    as_json: Json = False,
) -> None:
    """Make an endpoint and show its secret, `whsec_…`, once: it is stored encrypted.

    Whatever the secret signs is of this business and mode. Upstream posts to the path that is shown.

    Reads `WALLET_LEDGER_VIEWS_DSN` and `…_WEBHOOK_SECRET_KEY`.

        wallet-ledger webhooks create --business bus_dev --mode test
    """
    from services.console import webhooks as shown

    shown.create(business, mode, name, as_json=as_json)


@webhooks.command("list")
def webhooks_list(
    business: Annotated[str | None, typer.Option(help="Only of this business.")] = None, as_json: Json = False
) -> None:
    """Show all endpoints, the revoked ones too, without their secrets.

    Reads `WALLET_LEDGER_VIEWS_DSN`.

        wallet-ledger webhooks list --business bus_dev
    """
    from services.console import webhooks as shown

    shown.show(business, as_json=as_json)


@webhooks.command("rotate")
def webhooks_rotate(
    endpoint: EndpointId,
    overlap_hours: Annotated[
        float, typer.Option(min=0, max=720, help="How long the present secret lives on; 0: it ends now.")
    ] = 24,
    as_json: Json = False,
) -> None:
    """Make a new secret and show it once. Every api process takes it within 5 seconds: then give it to upstream.

    Reads `WALLET_LEDGER_VIEWS_DSN` and `…_WEBHOOK_SECRET_KEY`.

        wallet-ledger webhooks rotate whk_0123456789abcdef0123
    """
    from services.console import webhooks as shown

    shown.rotate(endpoint, overlap_hours, as_json=as_json)


@webhooks.command("revoke")
def webhooks_revoke(endpoint: EndpointId, as_json: Json = False) -> None:
    """End an endpoint: every api process refuses it within 5 seconds. Repeating changes nothing.

    Reads `WALLET_LEDGER_VIEWS_DSN`.

        wallet-ledger webhooks revoke whk_0123456789abcdef0123
    """
    from services.console import webhooks as shown

    shown.revoke(endpoint, as_json=as_json)
