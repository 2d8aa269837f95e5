"""schemathesis against the running service: every operation of its own OpenAPI document, all checks, nothing excluded."""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

PHASES = "examples,coverage,fuzzing,stateful"
HOOKS = Path(__file__).with_name("fuzz_hooks.py")
REQUEST_SECONDS_MAX = 60
MINUTES_MAX = 60
LOG_LINES_SHOWN_MAX = 200

CONFIG = """
hooks = {hooks}
[dictionaries]
positions = {{ values = ["0:0", "1:0", "0:0,1:0"] }}
currencies = {{ values = ["USD", "INR", "EUR"] }}
[parameters]
"header.Ledger-Position" = {{ dictionary = "positions" }}
"body.currency" = {{ dictionary = "currencies", probability = 0.9 }}
"body.items[*].currency" = {{ dictionary = "currencies", probability = 0.9 }}
"""
"""A position that no write has reached is answered 503 after a while, as promised; so those are asked that there are."""


class Fuzzed(NamedTuple):
    """What came of it; `broken` in words, each with how to repeat it."""

    operations: int
    cases: int
    broken: list[str]

    @property
    def line(self) -> str:
        """For a person."""
        return f"{self.operations} operations, {self.cases:,} cases, {len(self.broken)} kinds of failure"


def fuzz(url: str, secret: str, seed: int, cases: int, phases: str = PHASES) -> Fuzzed:
    """At least `cases` generated requests for each operation that has as many."""
    with tempfile.TemporaryDirectory(prefix="wallet-ledger-") as name:
        folder = Path(name)
        config, report, log = folder / "config.toml", folder / "report.json", folder / "log"
        config.write_text(CONFIG.format(hooks=json.dumps(str(HOOKS))))
        tool = str(Path(sys.executable).with_name("schemathesis"))
        words = [
            tool, "--config-file", str(config), "run", f"{url}/openapi.json", "--checks", "all",
            "--phases", phases, "--seed", str(seed), "--max-examples", str(cases),
            "--header", f"Authorization: Bearer {secret}", "--request-timeout", str(REQUEST_SECONDS_MAX),
            "--max-response-time", str(REQUEST_SECONDS_MAX),
            "--continue-on-failure", "--suppress-health-check", "all",
            "--report", "json", "--report-json-path", str(report),
        ]  # fmt: skip
        environment = {**os.environ, "NO_PROXY": "127.0.0.1", "NO_COLOR": "1"}
        code = None
        with log.open("wb") as output, suppress(subprocess.TimeoutExpired):
            code = subprocess.run(
                words, cwd=folder, env=environment, stdout=output, stderr=output, timeout=MINUTES_MAX * 60,
                check=False,
            ).returncode  # fmt: skip
        said = report.read_text() if report.exists() else ""
        if code is None or not said:  # it is made empty and written at the end
            how = f"did not end in {MINUTES_MAX} minutes" if code is None else f"ended with {code}"
            return Fuzzed(0, 0, [f"schemathesis {how}:\n{_end(log)}"])
        return _told(json.loads(said), code, log)


def _told(report: dict[str, Any], code: int, log: Path) -> Fuzzed:
    broken = [f"{one['title']}: {', '.join(one['operations'])}" for one in report["failures"]]
    broken += [f"error: {one}" for one in report["errors"]]
    operations = report["operations"]
    if operations["tested"] != operations["total"] or not report["complete"]:
        broken.append(f"{operations['tested']} of {operations['total']} operations were tested")
    if broken or code:
        broken.append(f"exit code {code}:\n{_end(log)}")
    return Fuzzed(operations["tested"], report["test_cases"]["generated"], broken)


def _end(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN_MAX:])
