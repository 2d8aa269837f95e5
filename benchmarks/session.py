"""One run: prepare, go through the scenarios, check."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple

from msgspec.structs import replace

from benchmarks import backlog, baseline, checks
from benchmarks.host import verify_us
from benchmarks.load import Outcome, Plan, generate
from benchmarks.meter import Meter, wait_for_quiet
from benchmarks.profile import looking, recording
from benchmarks.report import Result, reached
from benchmarks.scenarios import (
    ALL,
    BACKLOGS,
    BASELINES,
    READ_ENTRIES,
    READ_WALLETS,
    READS,
    WARM_UP,
    WRITES,
    Backlog,
    Http,
    wanted,
)
from benchmarks.stage import TENANT, Stage
from events.ids import derived

BALANCE = 1_000_000_000
BACKLOG_PROFILE_SECONDS = 3.0
Acknowledged = list[tuple[str, list[tuple[int, str]]]]


class Sizes(NamedTuple):
    """How much of everything."""

    seconds: float
    warmup_seconds: float
    wallets: int
    commands: int
    patience_seconds: float


FULL = Sizes(8.0, 1.5, 10_000, 60_000, 0.0)
QUICK = Sizes(2.0, 0.5, 500, 4_000, 0.0)


class Session:
    """Its scenarios share one stage, so that later ones run on a ledger with a past."""

    def __init__(
        self, stage: Stage, sizes: Sizes, only: list[str], profiles: Path | None, say: Callable[[str], None]
    ) -> None:
        self._stage = stage
        self._sizes = sizes
        self._only = only
        self._profiles = profiles
        self._say = say
        self._customers = [derived("cus_", f"bench {number}") for number in range(sizes.wallets)]
        self._ours: Acknowledged = []
        self.results: list[Result] = []
        self.checks: dict[str, Any] = {}

    def run(self) -> None:
        """The baseline first, while nothing else runs; then the ledger.

        Raises:
            StandaloneError: a process died, or the ledger is not right.
        """
        if scenarios := [one for one in BASELINES if wanted(one.name, self._only)]:
            self._baseline(scenarios)
        backlogs = [one for one in BACKLOGS if wanted(one.name, self._only)]
        https = [one for one in (*WRITES, *READS) if wanted(one.name, self._only)]
        if backlogs or https:
            self._open()
            self._backlogs(backlogs)
            self._http(https)
            self._check()

    # --- the baseline ---

    def _baseline(self, scenarios: list[Http]) -> None:
        stage = self._stage
        dsn = stage.postgres.create_database("baseline")
        baseline.prepare(dsn, TENANT, self._customers, BALANCE)
        acknowledged: Acknowledged = []
        for processes in (1, 2):
            with stage.baselines(dsn, processes) as ports:
                for scenario in scenarios:
                    outcome, result = self._load(scenario, ports, acknowledged)
                    result.name = f"{scenario.name}-x{processes}"
                    result.processes = {"baseline": processes}
                    self._note(result, outcome)
        self.checks["baseline"] = found = checks.baseline(dsn, acknowledged)
        checks.verdict(found)

    # --- the ledger ---

    def _open(self) -> None:
        """Customers, each with money: through the topic, as upstream services would."""
        stage = self._stage
        stage.start_kafka()
        stage.start("ledger", "projections", "api")
        busy = min(READ_WALLETS, len(self._customers))
        opening = list(backlog.opening(self._customers, BALANCE, busy, READ_ENTRIES))
        self._say(f"opening {len(self._customers):,} wallets with {len(opening):,} commands")
        backlog.produce(stage.settings, opening)
        backlog.watch(stage, backlog.STORED, len(opening))
        backlog.watch(stage, backlog.APPLIED, len(opening))

    def _backlogs(self, scenarios: list[Backlog]) -> None:
        """A backlog without anybody to work on it, then one process alone, then the next."""
        stage = self._stage
        for scenario in scenarios:
            stage.stop("api", "ledger", "projections")
            where = backlog.STORED if scenario.worker == "ledger" else backlog.APPLIED
            until = backlog.count(stage, backlog.STORED) + self._sizes.commands
            moves = backlog.movements(self._customers, self._sizes.commands, scenario.answered)
            backlog.produce(stage.settings, moves)
            if scenario.worker == "projections":
                stage.start("ledger")
                backlog.watch(stage, backlog.STORED, until)
                stage.stop("ledger")
            wait_for_quiet(self._sizes.patience_seconds)
            meter = Meter(stage)
            stage.start(scenario.worker, wait=False)
            during = partial(looking, stage, meter, self._profiles, scenario.name, BACKLOG_PROFILE_SECONDS)
            speed = backlog.watch(stage, where, until, during)
            self._note_backlog(scenario, speed, meter)
            stage.start("ledger", "projections")
            backlog.watch(stage, backlog.APPLIED, until)

    def _http(self, scenarios: list[Http]) -> None:
        stage = self._stage
        if not scenarios:
            return
        stage.start("ledger", "projections", "api")
        self._say("warming up: the broker's Java compiles what is used often")
        plan = self._plan(WARM_UP, [stage.settings.http_port], self._customers)
        outcome = generate(replace(plan, warmup_seconds=0.0))
        self._ours.append((plan.run, outcome.acknowledged))
        for scenario in scenarios:
            backlog.settle(self._stage)
            outcome, result = self._load(scenario, [stage.settings.http_port], self._ours)
            result.processes = {"api": stage.settings.http_processes, "ledger": 1, "projections": 1}
            self._note(result, outcome)

    def _check(self) -> None:
        backlog.settle(self._stage)
        self._say("reading the whole topic to check it")
        topic = checks.read_topic(self._stage.settings)
        self.checks["acknowledged"] = checks.acknowledged(topic, self._ours)
        self.checks["ledger"] = checks.ledger(self._stage, topic)
        for found in (self.checks["acknowledged"], self.checks["ledger"]):
            checks.verdict(found)

    # --- one scenario ---

    def _load(self, scenario: Http, ports: list[int], acknowledged: Acknowledged) -> tuple[Outcome, Result]:
        sizes, stage = self._sizes, self._stage
        customers = self._customers if scenario.wallets == ALL else self._customers[: scenario.wallets]
        plan = self._plan(scenario, ports, customers)
        wait_for_quiet(sizes.patience_seconds)
        with Meter(stage) as meter, recording(stage, self._profiles, scenario.name, sizes.seconds):
            outcome = generate(plan)
        stage.check_alive()
        if scenario.method == "POST":
            acknowledged.append((plan.run, outcome.acknowledged))
        return outcome, self._result(scenario, len(customers), outcome, meter)

    def _plan(self, scenario: Http, ports: list[int], customers: list[str]) -> Plan:
        return Plan(
            ports=ports,
            api_key=self._stage.api_key,
            clients=scenario.clients,
            warmup_seconds=self._sizes.warmup_seconds,
            seconds=self._sizes.seconds,
            method=scenario.method,
            path=scenario.path,
            customers=customers,
            run=token_hex(4),
            respond_async=not scenario.wait,
        )

    def _result(self, scenario: Http, wallets: int, outcome: Outcome, meter: Meter) -> Result:
        good = outcome.answers.get("200", 0)
        rate = good / outcome.seconds
        loaded = self._sizes.warmup_seconds + outcome.seconds
        return Result(
            name=scenario.name,
            clients=scenario.clients,
            wallets=wallets,
            processes={},
            wait_mode=scenario.wait_mode,
            seconds=outcome.seconds,
            count=good,
            rate=round(rate, 1),
            latency_ms=outcome.latency,
            answers=outcome.answers,
            overdrafts_sent=outcome.overdrafts_sent,
            stale=outcome.stale,
            unanswered=outcome.broken,
            commands_per_commit=meter.commands_per_commit,
            cpu_percent=meter.cpu_percent,
            generator_cpu_percent=round(outcome.cpu_seconds / loaded * 100, 1),
            machine_cpu_percent=meter.machine_percent,
            verify_us=verify_us(),
            target=str(scenario.target),
            reached=reached(scenario.target, rate, outcome.latency),
        )

    def _note(self, result: Result, outcome: Outcome) -> None:
        self.results.append(result)
        self._say(f"{result.name}: {result.rate:,.0f}/s, p99 {outcome.latency.p99:.1f} ms")

    def _note_backlog(self, scenario: Backlog, speed: backlog.Speed, meter: Meter) -> None:
        result = Result(
            name=scenario.name,
            wallets=len(self._customers),
            processes={scenario.worker: 1},
            seconds=round(speed.seconds, 3),
            count=speed.events,
            rate=round(speed.rate, 1),
            commands_per_commit=meter.commands_per_commit,
            cpu_percent=meter.cpu_percent,
            machine_cpu_percent=meter.machine_percent,
            verify_us=verify_us(),
            target=str(scenario.target),
            reached=reached(scenario.target, speed.rate, None),
        )
        self.results.append(result)
        self._say(f"{result.name}: {result.rate:,.0f} events/s")
