"""Hypothesis state machines that ask ledger and oracle the same things: the pure core here, the service in service.py."""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from msgspec import UNSET

from events.codec import decode_command, decode_envelope, encode_command
from events.commands import Origin
from events.ids import Tenant, parse_position
from events.replies import Outcome, Reply
from events.upstream import RecordUpstream
from services.intake.together import record_of
from services.ledger.batches import admission
from services.ledger.batches.batch import Batch
from services.ledger.batches.decisions import Decisions
from services.ledger.ports import CommandRecord
from tests.fakes import asking
from tests.fakes.keys import MemoryKeys
from tests.fakes.simulation import START_MICROS, SimLoop
from tests.fakes.store import MemoryDatabase, MemoryStore
from tests.fakes.world import CONFIGURED
from tests.proof.accounts import Said
from tests.proof.oracle import ANOTHER_FAILED, Oracle, Request
from tests.proof.stories import batches, beginnings, deals, entries, newscasts, tenants
from tests.proof.telling import Telling
from tests.proof.written import Written, written_of

OPEN = {"USD", "INR"}
TENANTS = {str(tenant): tenant for tenant in (Tenant("biz_1", "live"), Tenant("biz_1", "test"))}
STEPS_MAX = 60
MINUTE = 60_000_000
MANY = 20_000


class Core:
    """Reading, deciding and remembering of commands, one shard, over a store in memory that never fails."""

    def __init__(self) -> None:
        self._loop = SimLoop()
        self._store = MemoryStore(MemoryDatabase(1))
        self._decisions = Decisions(self._store, MemoryKeys({}), CONFIGURED)
        self._numbers = self._offset = 0
        self._micros = START_MICROS
        self._owned = {row.shard: row for row in self._run(self._opened())}

    @property
    def minute(self) -> float:
        return (self._micros - START_MICROS) / MINUTE

    def close(self) -> None:
        self._loop.close()

    def pass_minutes(self, minutes: float) -> None:
        self._micros += round(minutes * MINUTE)

    def decide(self, requests: Sequence[Request]) -> Batch:
        """A batch that is not true yet."""
        return self._decided([self._command(request) for request in requests])

    def enter(self, requests: Sequence[Request], together: bool) -> Batch:
        """One bulk record of them, which is not true yet."""
        self._numbers += 1
        entries = [asking.entry(one.customer, one.ask, one.key or "") for one in requests]  # type: ignore[arg-type]
        record = asking.bulk(*entries, together=together)
        tenant = TENANTS[requests[0].tenant]
        return self._decided([asking.command(self._numbers, requests[0].customer, record, tenant=tenant)])

    def tell(self, requests: Sequence[Request]) -> Batch:
        """What upstream said in one record, as intake makes it; not true yet."""
        commands = [decode_command(self._command(request))[0] for request in requests]
        return self._decided([encode_command(record_of(commands))])

    def _command(self, request: Request) -> bytes:
        self._numbers += 1
        return asking.command(
            self._numbers,
            request.customer,
            request.ask,
            key=request.key,
            attempt=request.tries,
            tenant=TENANTS[request.tenant],
            origin=Origin.INTAKE if isinstance(request.ask, RecordUpstream) else Origin.API,
            effective=request.effective,
        )

    def _decided(self, values: Sequence[bytes]) -> Batch:
        """The next records of the log."""
        read = []
        for value in values:
            self._offset += 1
            read.append(admission.read(CommandRecord(0, self._offset, value), 1, self._micros, True))
        batch: Batch = self._run(self._decisions.decide(read, self._owned, self._micros, receipts=True))
        return batch

    def commit(self, batch: Batch) -> list[Reply]:
        """Make it true; what it answers."""
        self._run(self._store.commit(batch.commit()))
        self._owned.update(batch.shards)
        self._decisions.merge(batch)
        return [answer.reply for answer in batch.answers]

    def forget(self) -> None:
        """As after a take-over."""
        self._decisions.forget()

    def version(self, reply: Reply) -> int:
        """Which of its customer's facts a reply speaks of."""
        shard, sequence = parse_position(reply.position)
        return decode_envelope(self._store.database.event(shard, sequence)).streamversion

    async def _opened(self) -> Any:
        await self._store.open()
        return await self._store.claim([0], 1)

    def _run(self, work: Any) -> Any:
        return self._loop.run_until_complete(work)


class Counted(RuleBasedStateMachine):
    """Knows how many steps all machines of its kind have done."""

    steps = 0

    def count(self) -> None:
        Counted.steps += 1


class CoreMachine(Counted):
    """Batches that are committed, batches that are lost, time that passes, memory that is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.core = Core()
        self.oracle = Oracle(OPEN)
        self.telling = Telling()

    @rule()
    def forgot(self) -> None:
        self.count()
        self.core.forget()

    @rule(minutes=st.sampled_from([1, 14, 16]))
    def waited(self, minutes: int) -> None:
        self.count()
        self.core.pass_minutes(minutes)

    @invariant()
    def nobody_owes(self) -> None:
        for account in self.oracle.accounts.values():
            assert all(balance >= 0 for balance in account.balances.values())

    def teardown(self) -> None:
        self.core.close()

    def ask(self, requests: Sequence[Request], *, lost: bool) -> None:
        """In one batch; a commit that failed: nothing of it ever was."""
        self.count()
        requests = [self.telling.settled(request) for request in requests]
        batch = self.core.decide(requests)
        if not lost:
            self.compare(batch, requests, self.core.commit(batch))

    def compare(self, batch: Batch, requests: Sequence[Request], replies: Sequence[Reply]) -> None:
        """Each answer, and what was written for each customer."""
        known = {who: (len(one.entries), len(one.notes)) for who, one in self.oracle.accounts.items()}
        for request, reply in zip(requests, replies, strict=True):
            self.telling.note(request, reply.object_id)
            said = self.oracle.ask(request._replace(minute=self.core.minute, made=reply.object_id))
            version = self.core.version(reply) if reply.position else 0
            assert answer_of(reply, version) == said, request
        written = written_of(batch)
        for who, account in self.oracle.accounts.items():
            entries, notes = known.get(who, (0, 0))
            found = written.get(who, Written([], []))
            assert found == Written(account.entries[entries:], account.notes[notes:]), requests


class WalletMachine(CoreMachine):
    """Customers and their money, by one command and by many in a record."""

    @rule(requests=batches, lost=st.sampled_from([False, False, True]))
    def asked(self, requests: list[Request], lost: bool) -> None:
        self.ask(requests, lost=lost)

    @rule(tenant=tenants, entries=entries, together=st.booleans(), lost=st.booleans())
    def entered(self, tenant: str, entries: list[Request], together: bool, lost: bool) -> None:
        self.count()
        record = [entry._replace(tenant=tenant) for entry in entries]
        batch = self.core.enter(record, together)
        if lost:
            return
        [reply] = self.core.commit(batch)
        said = self.oracle.enter(record, together)
        found = [answer_of(one, self.core.version(one) if one.position else 0) for one in reply.entries]
        assert found == said, f"{record}\nFOUND {found}\nSAID {said}"


class DealMachine(CoreMachine):
    """What upstream says and is asked, among debits and credits."""

    @initialize(told=beginnings)
    def began(self, told: list[Request]) -> None:
        self.ask(told, lost=False)

    @rule(requests=deals, lost=st.sampled_from([False, False, False, True]))
    def asked(self, requests: list[Request], lost: bool) -> None:
        self.ask(requests, lost=lost)

    @rule(told=st.lists(newscasts, min_size=1, max_size=4))
    def told_in_bulk(self, told: list[Request]) -> None:
        self.count()
        told = [self.telling.settled(request) for request in told]
        batch = self.core.tell(told)
        [reply] = self.core.commit(batch)
        self.compare(batch, told, reply.entries or [reply])


def answer_of(reply: Reply, version: int) -> Said:
    """A reply in the oracle's words."""
    if reply.outcome is Outcome.KEY_REUSED:
        return Said("key_reused", ANOTHER_FAILED if reply.code == ANOTHER_FAILED else "")
    before = None if reply.balance_before is UNSET else reply.balance_before
    after = None if reply.balance_after is UNSET else reply.balance_after
    if reply.code not in ("", "INSUFFICIENT_WALLET_FUNDS"):
        before = None  # other refusals may say it, and need not
    return Said(reply.outcome.value, reply.code, version, reply.replayed, before, after)


def core(first_seed: int, steps: int, *, shrink: bool = True) -> tuple[int, str | None]:
    """So many steps, half of them about purchases, and the smallest difference from the oracle, if there is one."""
    done = 0
    for machine in (WalletMachine, DealMachine):
        own, different = run(machine, first_seed, steps // 2, STEPS_MAX, shrink=shrink)
        done += own
        if different is not None:
            return done, different
    return done, None


def run(
    machine: type[Counted], first_seed: int, steps: int, steps_max: int, *, shrink: bool = True
) -> tuple[int, str | None]:
    """Stories of the machine until it has done so many steps. The number of steps, and what Hypothesis tells."""
    Counted.steps = 0
    told = settings(
        max_examples=20,
        stateful_step_count=steps_max,
        deadline=None,
        database=None,
        verbosity=Verbosity.normal,
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    number = first_seed
    while Counted.steps < steps:
        words = io.StringIO()
        try:
            with redirect_stdout(words):
                run_state_machine_as_test(seed(number)(type(machine.__name__, (machine,), {})), settings=told)
        except AssertionError as different:
            notes = "\n".join(getattr(different, "__notes__", []))
            return Counted.steps, f"seed {number}: {different}\n{notes}{words.getvalue()}"
        number += 1
    return Counted.steps, None
