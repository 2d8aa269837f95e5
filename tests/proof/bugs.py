"""Five real bugs, put back one at a time into a copy of the code: a proof that does not find them proves nothing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.breaking import Break, broken, copied, in_copy

HISTORIES_MAX = 3_000
WORKER = "services/ledger/worker.py"
SETTLING = "services/ledger/batches/settling.py"
COMMIT = "            await self._commit(batch)\n        except KnownKey:\n"
STORE = "            await world.store.commit(commit)\n"
MOVE = "                connection.execute(MOVE, self._moves(reading, moved))\n"
REPLY = "await self._world.answers.give(batch.answers)\n"
MERGE = "self._decisions.merge(batch)\n"


class Bug(NamedTuple):
    """Edits that bring it back; each stands once in its file."""

    name: str
    edits: tuple[Break, ...]


class Result(NamedTuple):
    """How soon it was found; `promise` is "" when it was not."""

    name: str
    promise: str
    histories: int
    seconds: float

    @property
    def line(self) -> str:
        if not self.promise:
            return f"NOT FOUND in {self.histories} histories: {self.name}"
        return f"{self.name}: found in {self.histories} histories, {self.seconds:.1f} s: {self.promise}"


def edit(file: str, old: str, new: str) -> Break:
    return Break("", file, old, new, ())


BUGS = [
    Bug(
        "reply before commit",
        (
            edit(
                SETTLING, COMMIT, COMMIT.replace("            await", f"            {REPLY}            await")
            ),
        ),
    ),
    Bug(
        "publish before commit",
        (
            edit(SETTLING, STORE, f"            world.relay.enqueue(batch.events, awaited=True)\n{STORE}"),
            edit(
                SETTLING,
                "        world.relay.enqueue(batch.events, awaited=batch.awaited or self._awaited)\n",
                "",
            ),
        ),
    ),
    Bug(
        "receipt outside the transaction",
        (
            edit(
                SETTLING,
                STORE,
                "            await world.store.commit(commit._replace(receipts=[]))\n"
                "            await world.store.commit(\n"
                "                commit._replace(before=commit.after, events=[], attempts=[]))\n",
            ),
        ),
    ),
    Bug(
        "checkpoint apart from its rows",
        (
            edit(
                "services/projections/applying.py",
                MOVE,
                f'{MOVE}                connection.execute("COMMIT")\n                connection.execute("BEGIN")\n',
            ),
        ),
    ),
    Bug(
        "state kept after a failed commit",
        (
            edit(
                WORKER,
                "        self._decisions.forget()\n        self._ownership.owned",
                "        self._ownership.owned",
            ),
            edit(
                WORKER,
                "        self._decisions = Decisions(",
                "        self._decisions = getattr(self, '_decisions', None) or Decisions(",
            ),
            edit(
                SETTLING, COMMIT, COMMIT.replace("            await", f"            {MERGE}            await")
            ),
        ),
    ),
]


def hunt(seed: int, jobs: int, chosen: list[Bug] = BUGS) -> Iterator[Result]:
    """Each bug in a copy of its own checkout, histories from the seed on until one breaks a promise."""
    with copied() as copy:
        for bug in chosen:
            yield _found(copy, bug, seed, jobs)


def _found(copy: Path, bug: Bug, seed: int, jobs: int) -> Result:
    options = [
        "--first",
        "--json",
        "--seed",
        str(seed),
        "--histories",
        str(HISTORIES_MAX),
        "--jobs",
        str(jobs),
    ]
    with broken(copy, bug.edits):
        done = in_copy(copy, ["-m", "tests.proof", "simulation", *options])
    assert done.returncode in (0, 1), done.stderr[-2_000:]
    report = json.loads(done.stdout)["simulation"]
    promise = report["broken"][0]["promise"] if report["broken"] else ""
    return Result(bug.name, promise, report["histories"], report["seconds"])
