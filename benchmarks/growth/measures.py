"""What is measured at each size: commands, reads, and how fast a worker follows another one."""

import time
from collections.abc import Callable
from secrets import token_hex
from statistics import median
from typing import NamedTuple
from urllib.parse import quote

from benchmarks.growth.loader import customer_id, email
from benchmarks.handover import OWNED
from benchmarks.load import Plan, generate
from benchmarks.meter import Meter
from benchmarks.scenarios import ENTRIES, WALLETS
from benchmarks.stage import Stage
from services.standalone.process import StandaloneError
from services.standalone.supervisor import Service, direct

SAMPLE = 5_000
CLIENTS = 8
ROUNDS = 3
PATIENCE_SECONDS = 120.0


class Reading(NamedTuple):
    """A GET; `{customer}` in the path stands for one of `words`."""

    name: str
    path: str
    words: list[str]


def commands(stage: Stage, size: int, seconds: float) -> tuple[dict[str, float], dict[str, float]]:
    """On wallets never touched since the start, each about once; then on wallets in memory."""
    step = max(1, size // SAMPLE)
    cold = [customer_id(number) for number in range(0, size, step)]
    warm = cold[:100]
    ms, cpu = {}, {}
    for name, wallets in (("command, cold wallet", cold), ("command, warm wallet", warm)):
        plan = _plan(
            stage, seconds * ROUNDS, "POST", ENTRIES, wallets, warmup=0.0 if wallets is cold else 1.0
        )
        with Meter(stage) as meter:
            outcome = generate(plan)
        stage.check_alive()
        ms[name] = outcome.latency.p50
        used = sum(meter.cpu_percent.values()) / 100 * outcome.seconds
        cpu[name] = used / sum(outcome.answers.values()) * 1e6
    return ms, cpu


def reads(stage: Stage, size: int, seconds: float) -> dict[str, float]:
    young = 10_000  # these customers exist at both sizes
    some = [customer_id(number) for number in range(0, size, max(1, size // SAMPLE))]
    readings = [
        Reading("balance", WALLETS, some),
        Reading("ledger, first page", ENTRIES, some),
        Reading("customers, first page", "/customers", [""]),
        Reading("/v1 customers, first page", "/v1/customers", [""]),
        Reading("/v1 customers by balance", "/v1/customers?currency=USD&sort=-balance", [""]),
        Reading("/v1 search: a common name", "/v1/customers?search={customer}", [quote("nguyễn"), "tran"]),
        Reading("/v1 search: two words", "/v1/customers?search=nguyen+{customer}", ["bao", "nhung"]),
        Reading(
            "/v1 search: an email",
            "/v1/customers?search={customer}",
            [quote(email(number)) for number in range(0, min(young, size), 7)],
        ),
        Reading("/v1 search: nobody", "/v1/customers?search={customer}", ["zzyzx", "qqwwxx"]),
        Reading("/v1 search with a total", "/v1/customers?search=nguyen&total=true", [""]),
        Reading("/v1 entries, first page", "/v1/ledger-entries", [""]),
        Reading(
            "/v1 entries by reference",
            "/v1/ledger-entries?reference={customer}",
            [f"pay_{number}_1" for number in range(0, min(young, size), 7)],
        ),
        Reading("/v1 entries of a cause", "/v1/ledger-entries?cause=adjustment&direction=debit", [""]),
    ]
    return {one.name: _read(stage, one, seconds) for one in readings}


def _read(stage: Stage, reading: Reading, seconds: float) -> float:
    plans = [_plan(stage, seconds, "GET", reading.path, reading.words, clients=1) for _ in range(ROUNDS)]
    return round(median(generate(plan).latency.p50 for plan in plans), 3)


def _plan(
    stage: Stage,
    seconds: float,
    method: str,
    path: str,
    words: list[str],
    clients: int = CLIENTS,
    warmup: float = 0.5,
) -> Plan:
    return Plan(
        ports=[stage.settings.http_port],
        api_key=stage.api_key,
        clients=clients,
        warmup_seconds=warmup,
        seconds=seconds,
        method=method,
        path=path,
        customers=words,
        run=token_hex(4),
        respond_async=True,
    )


def take_overs(stage: Stage) -> dict[str, float]:
    """Seconds until a second worker has all shards after the first was told to stop, and after it was killed."""
    found = {}
    for name, end in (("hand-over", Service.stop), ("take-over after kill -9", Service.kill)):
        first = stage.running["ledger"]
        assert isinstance(first, Service)
        heir = stage.worker("heir")
        heir.start()
        _until(lambda heir=heir: _owned(heir) == stage.settings.shards // 2)  # type: ignore[misc]
        del stage.running["ledger"]
        began = time.monotonic()
        end(first)
        _until(lambda heir=heir: _owned(heir) == stage.settings.shards)  # type: ignore[misc]
        found[name] = time.monotonic() - began
        stage.running["ledger"] = stage.running.pop("heir")
    return found


def _owned(service: Service) -> int:
    with direct.open(f"http://127.0.0.1:{service.port}/metrics", timeout=5) as answer:
        lines = answer.read().splitlines()
    return next(int(line[len(OWNED) :].partition(b".")[0]) for line in lines if line.startswith(OWNED))


def _until(probe: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            if probe():
                return
        except OSError:
            pass  # it does not listen yet
        if time.monotonic() > deadline:
            raise StandaloneError("a worker did not get its shards")
        time.sleep(0.02)
