"""Simulated histories keep every promise; the checker sees each one broken; a seed repeats its history exactly."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache

import pytest
from msgspec.structs import replace

from tests import seeds
from tests.fakes.gate import Phase
from tests.proof import explore
from tests.proof.checker import check
from tests.proof.history import Answer, History, live
from tests.proof.installation import Installation
from tests.proof.plan import BOARD, Plan, plan

HISTORIES = 80


def test_whatever_happens_every_promise_is_kept() -> None:
    seed = seeds.chosen()
    for number in range(seed, seed + HISTORIES):
        if check(live(plan(number))) is not None:
            small = explore.smallest(number)
            pytest.fail("\n".join([f"seed {number}: {check(small)}", *explore.told(small)]))


def lose_an_acknowledged_event(history: History) -> None:
    for kept in history.town.kafka.events.values():
        del kept[-1:]


def change_a_byte(history: History) -> None:
    log = history.town.kafka.events[0]
    log[0] = (log[0][0], log[0][1].replace(b'"biz_proof"', b'"biz_prove"'))


def ask_for_something_else(history: History) -> None:
    first, second = [one for one in history.operations if one.answer.kind == "applied"][-2:]
    second.name, first.name = first.name, second.name


def ask_for_nothing(history: History) -> None:
    history.operations = [one for one in history.operations if one.answer.kind != "applied"]


def tell_other_amounts(history: History) -> None:
    told = next(one for one in history.operations if one.answer.amounts[1] is not None)
    told.answer = told.answer._replace(amounts=(told.answer.amounts[0], told.answer.amounts[1] + 1))


def tell_another_outcome(history: History) -> None:
    told = next(one for one in history.operations if one.answer.kind == "refused")
    told.answer = told.answer._replace(kind="applied", code="")


def deny_what_was_applied(history: History) -> None:
    told = next(one for one in history.operations if one.answer.kind == "applied" and not one.answer.replayed)
    told.answer = Answer("not_applied", "SERVICE_UNAVAILABLE")


def forget_what_was_answered_before(history: History) -> None:
    """The second of two writes was answered before the first was asked."""
    same = [one for one in history.operations if one.request.customer == "cus_a" and one.answer.position[1]]
    same[0].invoked, same[0].returned = 10**6, 10**6 + 1


def lose_a_receipt(history: History) -> None:
    history.town.database.receipts.popitem()


def remember_wrongly(history: History) -> None:
    history.memory = {at: replace(one, balances={"USD": 10**6}) for at, one in history.memory.items()}


def show_too_much(history: History) -> None:
    next(iter(history.town.views.wallets.values()))["balance_minor"] += 1


def lose_an_entry(history: History) -> None:
    history.town.views.entries.popitem()


def unbalance_the_books(history: History) -> None:
    accounts = history.town.views.accounts
    accounts[next(iter(accounts))] += 1


def read_the_future(history: History) -> None:
    read = next(read for read in history.reads if read.balances)
    balances = {currency: balance + 1 for currency, balance in read.balances.items()}
    history.reads.append(read._replace(balances=balances))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lose_an_acknowledged_event, "lost"),
        (change_a_byte, "chain"),
        (ask_for_something_else, "should be|answer of"),
        (ask_for_nothing, "by nobody"),
        (tell_other_amounts, "was told"),
        (tell_another_outcome, "was told"),
        (deny_what_was_applied, "certainly not applied"),
        (forget_what_was_answered_before, "before it was asked"),
        (lose_a_receipt, "receipts"),
        (remember_wrongly, "remembers"),
        (show_too_much, "wallets"),
        (lose_an_entry, "entries"),
        (unbalance_the_books, "books"),
        (read_the_future, "a read as of"),
    ],
)
def test_a_broken_promise_is_seen(damage: Callable[[History], None], words: str) -> None:
    history = live(_with_reads())
    assert check(history) is None
    damage(history)
    found = check(history)
    assert found is not None
    assert any(word in found for word in words.split("|")), found


def test_a_seed_repeats_a_history_exactly() -> None:
    assert _fingerprint("0") == _fingerprint("1")


def test_what_does_not_matter_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(history: History) -> str | None:
        refused = any(one.answer.code == "UNSUPPORTED_CURRENCY" for one in history.operations)
        return "a euro was refused" if refused else None

    monkeypatch.setattr(explore, "check", broken)
    seed = next(seed for seed in range(100) if broken(live(plan(seed))))
    small = explore.smallest(seed).plan
    assert small.faults == ()
    assert sum(len(story) for story in small.stories) <= 2
    assert (small.workers, small.apis, small.projections) == (1, 1, 1)


def test_every_await_point_is_on_the_board(monkeypatch: pytest.MonkeyPatch) -> None:
    passed: set[tuple[str, Phase]] = set()
    original = Installation._passed

    def note(town: Installation, process: object, call: str, phase: Phase) -> str | None:
        passed.add((call, phase))
        return original(town, process, call, phase)

    monkeypatch.setattr(Installation, "_passed", note)
    for seed in range(0, len(BOARD), 8):
        live(plan(seed))
    board = {(cell.call, cell.phase) for cell in BOARD}
    aside = {call for call, _ in passed - board}
    assert aside <= {"views_beat", "views_set", "views_pass_breaks"}
    assert len(passed & board) > 0.8 * len(board)


@cache
def _with_reads() -> Plan:
    """A quiet one in which there is something to break."""
    seed = next(seed for seed in range(50) if _good(live(plan(seed)._replace(faults=()))))
    return plan(seed)._replace(faults=())


def _good(history: History) -> bool:
    kinds = {one.answer.kind for one in history.operations}
    reads = any(read.balances for read in history.reads)
    return {"applied", "refused"} <= kinds and reads and bool(history.memory)


def _fingerprint(hash_seed: str) -> str:
    """In another process, whose sets and dictionaries have another order."""
    command = [
        sys.executable,
        "-m",
        "tests.proof",
        "simulation",
        "--json",
        "--seed",
        "40",
        "--histories",
        "5",
    ]
    environment = dict(os.environ, PYTHONHASHSEED=hash_seed)
    done = subprocess.run(
        [*command, "--jobs", "1"], env=environment, capture_output=True, text=True, check=True
    )
    found: str = json.loads(done.stdout)["simulation"]["fingerprint"]
    return found
