"""What a person sees when everything runs."""

from rich.console import Console
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table

CURL = """\
curl -s {base_url}/customers/{customer}/wallets/ledger-entries \\
  -H 'Authorization: Bearer {api_key}' -H 'Content-Type: application/json' \\
  -d '{{"amount": 500, "currency": "USD", "entry_type": "credit", "idempotency_key": "my-first-credit"}}'"""
SDK = """\
from dodopayments import DodoPayments

client = DodoPayments(bearer_token="{api_key}", base_url="{base_url}")
wallet = client.customers.wallets.ledger_entries.create(
    "{customer}", amount=500, currency="USD", entry_type="credit", idempotency_key="my-first-credit"
)
print(wallet.balance)"""


def welcome(console: Console, addresses: dict[str, str], base_url: str, api_key: str, customer: str) -> None:
    """Addresses, then how to credit: with curl and with the SDK, ready to be copied."""
    values = {"base_url": base_url, "api_key": api_key, "customer": customer}
    table = Table.grid(padding=(0, 2))
    for name, value in addresses.items():
        table.add_row(f"[bold]{name}[/bold]", value)
    console.print(Panel(table, title="the wallet ledger is ready", title_align="left", border_style="green"))
    console.print(
        "\n[bold]Credit 5.00 USD[/bold] (asked twice, it is done once: that is the idempotency key)\n"
    )
    for language, text in (("bash", CURL), ("python", SDK)):
        code = Syntax(text.format(**values), language, background_color="default", word_wrap=False)
        console.print(code, soft_wrap=True)
        console.print()
    console.print("Ctrl-C stops everything; the data stays.")
