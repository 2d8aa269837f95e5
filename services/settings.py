"""Everything that may be configured, read once from `WALLET_LEDGER_*` variables by the composition roots."""

import re
from decimal import Decimal, InvalidOperation
from ipaddress import ip_network
from pathlib import Path
from typing import Literal

from babel.numbers import is_currency
from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.mistakes import Mistake

PORT_MAX = 65535
ABOVE = {"ledger": 1, "projections": 2, "intake": 3}
"""Where each serves its metrics unless told: so much above the HTTP port."""
SERVED_PORTS = ("http_port", *(f"{service}_metrics_port" for service in ABOVE))
"""Of HTTP, all on `http_host`."""
BROKER = re.compile(r"(?:\[[^\]\s]+\]|[^\[\]:/\s]+):([0-9]{1,5})")


class Settings(BaseSettings):
    """One object for all processes, so that they cannot disagree; each reads what concerns it."""

    model_config = SettingsConfigDict(env_prefix="WALLET_LEDGER_", extra="ignore")

    data_dir: Path = Field(Path(".data"), description="where `up` keeps servers, secrets and ready.json")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_json: bool = Field(True, description="JSON lines; false prints for people")
    starts_when: str = Field(
        "", description="a file: a service is loaded at once and begins when it is there; `up` sets it"
    )

    # Kafka
    kafka_bootstrap: str = Field("", description="host:port,…; empty: `up` runs its own")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_sasl_username: str = Field("", validate_default=True)
    kafka_sasl_password: SecretStr = SecretStr("")
    kafka_ssl_cafile: str = ""
    kafka_replication_factor: int = Field(
        0, ge=0, description="0: 3, or 1 where the cluster has fewer than three brokers"
    )
    kafka_port: int = Field(0, ge=0, le=PORT_MAX, description="of the broker that `up` runs; 0: any free one")

    # PostgreSQL: three databases, because their backups live by different rules
    store_dsn: SecretStr = Field(SecretStr(""), description="events, receipts, shards")
    views_dsn: SecretStr = Field(SecretStr(""), description="read models, API keys, webhook endpoints")
    keys_dsn: SecretStr = Field(SecretStr(""), description="wrapped data keys of customers; own backup")
    postgres_port: int = Field(
        0, ge=0, le=PORT_MAX, description="of the server that `up` runs; 0: any free one"
    )

    # Secrets
    key_encryption_key: SecretStr = Field(SecretStr(""), description="32 bytes, base64: wraps data keys")
    webhook_secret_key: SecretStr = Field(
        SecretStr(""), description="32 bytes, base64: wraps the secrets of webhook endpoints"
    )
    request_hash_secret: SecretStr = Field(SecretStr(""), description="HMAC secret of request hashes")

    # The language: fixed for the life of a ledger
    shards: int = Field(32, ge=1, le=1024, description="partitions of all topics keyed by customer")
    currencies: tuple[str, ...] = Field(("USD", "INR"), description="open for wallets; JSON list")
    usd_rates: dict[str, str] = Field(
        {"USD": "1", "INR": "0.0112"},
        validate_default=True,
        description="for total_balance_usd only; JSON object",
    )

    # Upstream
    upstream_mode: Literal["", "live", "test"] = Field(
        "", description="of records of payments.events that do not say it; empty: they must"
    )
    upstream_wait_seconds: float = Field(
        7200, gt=0, le=30 * 86400, description="how long a dispute may wait for its payment"
    )
    wallet_rules: tuple[Literal["top_up", "refund_to_wallet", "dispute", "payment_reversal"], ...] = Field(
        ("top_up", "refund_to_wallet", "dispute", "payment_reversal"),
        description="in force, of docs/upstream.md; JSON list",
    )

    play_visits: int = Field(
        4_000, ge=0, le=1_000_000, description="a day, to the business that `up` plays; 0: it plays none"
    )

    # API
    http_host: str = Field("127.0.0.1", min_length=1)
    http_port: int = Field(8080, ge=1, le=PORT_MAX)
    http_processes: int = Field(1, ge=1, le=64)
    command_deadline_seconds: float = Field(5.0, gt=0, le=60, description="after it a command is void")
    http_trusted_proxies: tuple[str, ...] = Field(
        (), description="addresses or networks whose X-Forwarded-For is believed; JSON list"
    )
    rate_limit_per_second: int = Field(0, ge=0, description="of one key, per api process; 0: no limit")
    rate_limit_burst: int = Field(100, ge=1, description="at once, of one key")
    rate_limit_refused_per_second: int = Field(
        20, ge=0, description="refusals without a live key, of one address; 0: no limit"
    )
    rate_limit_refused_burst: int = Field(200, ge=1, description="the same at once")
    commands_in_flight_max: int = Field(4096, ge=1)
    body_bytes_max: int = Field(64 * 1024, ge=1024)
    export_rows_max: int = Field(1_000_000, ge=1, description="of one export; it is cut off beyond")
    bulk_body_bytes_max: int = Field(1024 * 1024, ge=1024)
    read_wait_seconds: float = Field(
        0.5, ge=0, le=10, description="how long a write waits for its read models"
    )

    # Ledger
    acknowledge: Literal["store", "store+topic"] = "store"
    instance: str = Field("", description="name of this process, stable over restarts; empty: host and role")
    ledger_workers: int = Field(1, ge=1, le=16, description="that `up` runs; they share the shards")
    ledger_metrics_port: int = Field(0, ge=0, le=PORT_MAX, description="0: HTTP port + 1")
    projections_metrics_port: int = Field(0, ge=0, le=PORT_MAX, description="0: HTTP port + 2")
    intake_metrics_port: int = Field(0, ge=0, le=PORT_MAX, description="0: HTTP port + 3")
    verify_events_per_second: int = Field(
        200, ge=0, le=100_000, description="of the slow check in the background; 0: none"
    )

    @field_validator("kafka_bootstrap")
    @classmethod
    def _brokers_have_ports(cls, value: str) -> str:
        brokers = [address.strip() for address in value.split(",")] if value else []
        for broker in brokers:
            found = BROKER.fullmatch(broker)
            if found is None or not 0 < int(found[1]) <= PORT_MAX:
                raise ValueError("brokers are host:port,…, e.g. kafka-1:9092,[fd00::1]:9092")
        return ",".join(brokers)

    @field_validator("kafka_sasl_username", "kafka_sasl_password", "kafka_ssl_cafile")
    @classmethod
    def _protocol_uses_it(cls, value: str | SecretStr, info: ValidationInfo) -> str | SecretStr:
        """Where the protocol is forgotten, all would go in clear and without a login, and nobody would know."""
        protocol = info.data.get("kafka_security_protocol")
        if protocol is None:
            return value  # a mistake of its own
        wanted = (
            ("SSL", "SASL_SSL") if info.field_name == "kafka_ssl_cafile" else ("SASL_PLAINTEXT", "SASL_SSL")
        )
        if value and protocol not in wanted:
            needed = " or ".join(wanted)
            raise ValueError(f"it needs WALLET_LEDGER_KAFKA_SECURITY_PROTOCOL={needed}, which is {protocol}")
        if not value and info.field_name == "kafka_sasl_username" and protocol in wanted:
            raise ValueError(f"{protocol} needs a user")
        return value

    @field_validator("currencies")
    @classmethod
    def _currencies_are_codes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not all(map(is_currency, value)):
            raise ValueError('currencies are ISO 4217 codes, e.g. ["USD", "INR"]')
        return value

    @field_validator("http_trusted_proxies")
    @classmethod
    def _proxies_are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(str(ip_network(one, strict=False)) for one in value)
        except ValueError as error:
            raise ValueError('proxies are addresses or networks, e.g. ["127.0.0.1", "fd00::/8"]') from error

    @field_validator("usd_rates")
    @classmethod
    def _open_currencies_have_rates(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        for currency in info.data.get("currencies", ()):
            try:
                rate = Decimal(value.get(currency, "0"))
            except InvalidOperation:
                rate = Decimal(0)
            if not rate.is_finite() or rate <= 0:
                example = '{"USD": "1", "INR": "0.0112"}'
                raise ValueError(
                    f"{currency} is open and needs a rate, US dollars for one as a positive decimal number: "
                    f"add it to the map, e.g. {example}"
                )
        return value

    def metrics_port(self, service: str) -> int:
        """Of `ABOVE`. Raises Mistake where there is none so high: the system would take another one, and tell nobody."""
        port: int = getattr(self, f"{service}_metrics_port") or self.http_port + ABOVE[service]
        if port > PORT_MAX:
            variable = f"WALLET_LEDGER_{service.upper()}_METRICS_PORT"
            raise Mistake(
                f"{service} would serve its metrics on port {port}: set {variable} to one up to {PORT_MAX}"
            )
        return port
