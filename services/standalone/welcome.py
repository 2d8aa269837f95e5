"""What a person sees when everything runs."""

from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from services.console.tail import amount
from services.settings import Settings
from services.standalone.first_look import FirstLook
from services.standalone.voice import Voice

CREATE = """\
curl -s {base_url}/customers \\
  -H 'Authorization: Bearer {api_key}' -H 'Content-Type: application/json' \\
  -H 'Idempotency-Key: my-first-customer' -d '{{"name": "Nguyễn Ánh", "email": "anh@example.com"}}'"""
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
PUBLISH = """\
import asyncio, json{modules}
from aiokafka import AIOKafkaProducer

EVENT = {{
    "business_id": "bus_dev", "type": "payment.succeeded", "timestamp": "2026-11-23T10:00:00Z",
    "data": {{"payment_id": "pay_my_first_{payment}", "currency": "USD", "total_amount": 1100, "tax": 100,
             "customer": {{"customer_id": "{customer}"}}, "metadata": {{"wallet_action": "top_up"}}}},
}}

async def publish():
    async with AIOKafkaProducer({options}) as producer:
        await producer.send_and_wait("payments.events", json.dumps(EVENT).encode())

asyncio.run(publish())"""


def welcome(
    voice: Voice, addresses: dict[str, str], base_url: str, api_key: str, settings: Settings, look: FirstLook
) -> None:
    """Addresses, what is in the ledger, then how to credit and to publish, ready to be copied."""
    values = {
        "base_url": base_url,
        "api_key": api_key,
        "customer": look.customer or "CUSTOMER_ID",
        "payment": look.customer[-6:]
        or "one",  # a payment has one customer, and the next start may show another
        "options": _producer_options(settings),
        "modules": _modules(settings),
    }
    table = Table.grid(padding=(0, 2))
    for name, value in addresses.items():
        table.add_row(Text(name, "bold"), value)
    voice.print(Panel(table, title="the wallet ledger is ready", title_align="left", border_style="green"))
    if look.customers:
        _show(voice, look)
    first = ("Make a customer first", " (CUSTOMER_ID below is the customer_id of the answer)", "bash", CREATE)
    for heading, aside, language, text in (
        *(() if look.customer else (first,)),
        ("Credit 5.00 USD", " (asked twice, it is done once: that is the idempotency key)", "bash", CURL),
        ("The same with the SDK", "", "python", SDK),
        (
            "A payment service publishes a top-up of 10.00 USD",
            " (told twice, it is credited once)",
            "python",
            PUBLISH,
        ),
    ):
        voice.print(Text.assemble("\n", (heading, "bold"), aside, "\n"))
        code = Syntax(text.format(**values), language, background_color="default", word_wrap=False)
        voice.print(code, soft_wrap=True)
    voice.print("\nCtrl-C stops everything; the data stays.")


def _show(voice: Voice, look: FirstLook) -> None:
    held = Text(", ").join(Text(amount(minor, currency), "bold") for currency, minor in look.balances.items())
    payments = ", ".join(f"{count:,} {status}" for status, count in look.payments.items())
    count = (f"{look.customers:,}", "bold")
    voice.print(
        Text.assemble(
            "\n",
            count,
            " customers" if look.customers != 1 else " customer",
            ", with wallets that hold ",
            held,
            ".",
        )
    )
    voice.print(f"Payments: {payments}.")
    if not look.entries:
        return
    voice.print(f"The last entries of {look.customer}:\n", soft_wrap=True)
    table = Table()
    table.add_column("when")
    table.add_column("what", no_wrap=True)
    table.add_column("reference", overflow="fold")
    for heading in ("amount", "balance"):
        table.add_column(heading, justify="right", no_wrap=True)
    for entry in look.entries:
        sign, color = ("+", "green") if entry.is_credit else ("-", "red")
        table.add_row(
            f"{entry.created_at:%Y-%m-%d %H:%M:%S}",
            entry.cause,
            entry.reference,
            Text(f"{sign}{amount(entry.amount, entry.currency)}", color),
            amount(entry.balance_after, entry.currency),
        )
    voice.print(table)


def _producer_options(settings: Settings) -> str:
    """As `services.kafka.client_options`, to be read and copied: the password stays in the environment."""
    protocol = settings.kafka_security_protocol
    options = {"bootstrap_servers": f'"{settings.kafka_bootstrap}"'}
    if protocol != "PLAINTEXT":
        options["security_protocol"] = f'"{protocol}"'
    if protocol.endswith("SSL"):
        authorities = f"cafile={settings.kafka_ssl_cafile!r}" if settings.kafka_ssl_cafile else ""
        options["ssl_context"] = f"ssl.create_default_context({authorities})"
    if protocol.startswith("SASL"):
        options["sasl_mechanism"] = f'"{settings.kafka_sasl_mechanism}"'
        options["sasl_plain_username"] = repr(settings.kafka_sasl_username)
        options["sasl_plain_password"] = 'os.environ["WALLET_LEDGER_KAFKA_SASL_PASSWORD"]'  # noqa: S105
    lines = [f"{name}={value}" for name, value in options.items()]
    return lines[0] if len(lines) == 1 else "".join(f"\n        {line}," for line in lines) + "\n    "


def _modules(settings: Settings) -> str:
    protocol = settings.kafka_security_protocol
    return (", os" if protocol.startswith("SASL") else "") + (", ssl" if protocol.endswith("SSL") else "")
