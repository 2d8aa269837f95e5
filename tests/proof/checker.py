"""Whether a history kept every promise. The order is the log's; what must follow in that order is the oracle's word.

Strict serializability, really checked: the events of a shard in sequence are one order of all that was decided there.
Each event must be what the oracle answers at that place, each answer must be that of its event, and whoever was
answered before another asked stands before it. What left no event was answered from a receipt: a read.
"""

import hashlib
from collections import Counter
from typing import NamedTuple

import msgspec

from events.codec import decode_envelope, genesis
from events.envelope import Envelope
from events.facts import CustomerFact
from events.ids import owner_of, stream_id
from services.ledger.batches import receipts
from tests.factories import customer_fact
from tests.proof.accounts import Said
from tests.proof.history import TENANT, Answer, History, Operation, Read
from tests.proof.oracle import Oracle
from tests.proof.processes import SHARDS

OPEN = {"USD", "INR"}
WALLETS = "wallets"


class Event(NamedTuple):
    """One event of the log, who asked for it, and what the oracle says to that."""

    envelope: Envelope
    fact: CustomerFact
    operation: Operation
    said: Said


class Broken(Exception):
    """A promise that was not kept."""


def check(history: History) -> str | None:
    """The first broken promise in words; None when all were kept."""
    try:
        if history.town.broken:
            raise Broken(history.town.broken[0])
        _check(history)
    except Broken as broken:
        return str(broken)
    except AssertionError as broken:
        return f"the topic: {broken}"
    return None


def _check(history: History) -> None:
    oracle = Oracle(OPEN)
    logs = {shard: _log(history, shard) for shard in range(SHARDS)}
    judged = {shard: _judged(history, oracle, log) for shard, log in logs.items()}
    answered = [operation for operation in history.operations if operation.returned]
    for operation in answered:
        _check_answer(history, operation, judged)
    _check_real_time(answered, judged)
    for read in history.reads:
        _check_read(read, judged[read.shard])
    for shard in logs:
        _check_store(history, shard, logs[shard])
    _check_receipts(history, judged)
    _check_memory(history, oracle)
    _check_keys(history, oracle)
    _check_views(history, oracle)


def _demand(kept: bool, promise: str) -> None:
    if not kept:
        raise Broken(promise)


def _log(history: History, shard: int) -> list[bytes]:
    """The topic as a reader has it; every event names the bytes before it, and time does not go back."""
    log = history.town.topic(shard)
    head, time = genesis("memory", shard), ""
    for sequence, value in enumerate(log, start=1):
        envelope = decode_envelope(value)
        _demand(envelope.previoushash == head.hex(), f"the chain is broken at {shard}:{sequence}")
        _demand(envelope.time >= time, f"time goes back at {shard}:{sequence}")
        head, time = hashlib.sha256(value).digest(), envelope.time
    return log


def _judged(history: History, oracle: Oracle, log: list[bytes]) -> list[Event]:
    """Each event is what the oracle answers to its request at this place in the order."""
    asked = {operation.name: operation for operation in history.operations}
    judged = []
    versions: Counter[str] = Counter()
    for value in log:
        envelope = decode_envelope(value)
        _demand(envelope.correlationid in asked, f"{envelope.id} was asked for by nobody")
        fact, operation = customer_fact(envelope), asked[envelope.correlationid]
        said = oracle.ask(operation.request._replace(tries=0))
        _demand(not said.replayed, f"{envelope.id} applies {operation.name} a second time")
        _demand(said.outcome != "key_reused", f"{envelope.id} applies another request under a used key")
        _demand(_fits(envelope, fact, said), f"{envelope.id} is {fact}, and should be {said}")
        versions[envelope.stream] += 1
        _demand(envelope.streamversion == versions[envelope.stream] == said.fact, f"version of {envelope.id}")
        judged.append(Event(envelope, fact, operation, said))
    return judged


def _fits(envelope: Envelope, fact: CustomerFact, said: Said) -> bool:
    fields = msgspec.to_builtins(fact)
    refused = envelope.type in ("customer.command_refused.v1", "wallet.debit_refused.v1")
    amounts = (fields.get("balance_before", fields.get("balance")), fields.get("balance_after"))
    amounts_count = said.code == "INSUFFICIENT_WALLET_FUNDS" or said.outcome == "applied"
    if amounts_count and amounts != (said.before, said.after):
        return False
    return refused == (said.outcome == "refused") and fields.get("refusal", "") == said.code


def _check_answer(history: History, operation: Operation, judged: dict[int, list[Event]]) -> None:
    """What was acknowledged stands in the log as it was told; what was not applied is not there."""
    name, answer, request = operation.name, operation.answer, operation.request
    shard = history.town.shard(request.customer)
    mine = [event for event in judged[shard] if event.operation.name == name]
    _demand(len(mine) <= 1, f"{name} was applied {len(mine)} times")
    _demand(answer.kind != "failed", f"{name} failed: {answer.code}")
    if answer.kind == "not_applied":
        _demand(not mine, f"{name} was told 503, certainly not applied, and is in the log")
    if answer.kind == "key_reused":
        others = [event for event in judged[shard] if _same_key(event, operation)]
        other = any(event.operation.request.content != request.content for event in others)
        _demand(other, f"{name} was told that its key was used by another request, and it was not")
    if answer.kind in ("applied", "refused"):
        _check_acknowledged(operation, answer, shard, judged[shard])


def _check_acknowledged(operation: Operation, answer: Answer, shard: int, log: list[Event]) -> None:
    name, request = operation.name, operation.request
    where, sequence = answer.position
    _demand(
        where == shard and 1 <= sequence <= len(log), f"{name}: acknowledged and lost at {where}:{sequence}"
    )
    event = log[sequence - 1]
    theirs = event.operation.request
    same = (theirs.customer, theirs.content, theirs.key) == (request.customer, request.content, request.key)
    _demand(same, f"{name} was given the answer of {event.operation.name}")
    if request.key is None and event.operation.name != name:
        _demand(request.tries > 0, f"{name} was given the answer of {event.operation.name}")
    told, said = (answer.kind, answer.code), (event.said.outcome, event.said.code)
    _demand(told == said, f"{name} was told {told}, the log says {said}")
    if answer.kind == "applied":
        amounts = (event.said.before, event.said.after)
        _demand(answer.amounts == amounts, f"{name} was told {answer.amounts}, the log says {amounts}")


def _same_key(event: Event, operation: Operation) -> bool:
    theirs, ours = event.operation.request, operation.request
    return (theirs.customer, theirs.key) == (ours.customer, ours.key)


def _check_real_time(answered: list[Operation], judged: dict[int, list[Event]]) -> None:
    """Whoever asked after an answer was given is placed behind what that answer spoke of."""
    place = {event.operation.name: (shard, number)
             for shard, log in judged.items() for number, event in enumerate(log, start=1)}  # fmt: skip
    moments: list[tuple[int, bool, Operation]] = [
        *((operation.invoked, False, operation) for operation in answered),
        *((operation.returned, True, operation) for operation in answered),
    ]
    known: Counter[int] = Counter()
    floor: dict[str, int] = {}
    for _, returns, operation in sorted(moments, key=lambda moment: moment[0]):
        shard, sequence = place.get(operation.name, (0, 0))
        if not returns:
            floor[operation.name] = known[shard]
            continue
        _demand(not sequence or sequence > floor[operation.name],
                f"{operation.name} was decided before it was asked: another's answer spoke of later things")  # fmt: skip
        where, seen = operation.answer.position
        known[where] = max(known[where], seen)


def _check_read(read: Read, log: list[Event]) -> None:
    """A read is what the oracle says at the position that it is as of: nothing more, nothing less."""
    oracle = Oracle(OPEN)
    for event in log[: read.sequence]:
        oracle.ask(event.operation.request._replace(tries=0))
    account = oracle.account(str(TENANT), read.customer)
    _demand(read.sequence <= len(log), "the read models are ahead of the topic")
    _demand(
        read.balances == account.balances, f"a read as of {read.shard}:{read.sequence} says {read.balances}"
    )
    _demand(read.entries == len(account.entries), f"a read as of {read.shard}:{read.sequence} lacks entries")
    name = account.profile["name"] if account.profile else None
    _demand(read.name == name, f"a read as of {read.shard}:{read.sequence} has another name")


def _check_store(history: History, shard: int, log: list[bytes]) -> None:
    """The store holds the topic's bytes and the shard row speaks of the last of them."""
    database = history.town.database
    _demand([row.value for row in database.events[shard]] == log, f"shard {shard}: store and topic differ")
    row = database.rows[shard]
    head = hashlib.sha256(log[-1]).digest() if log else genesis("memory", shard)
    _demand((row.sequence, row.head) == (len(log), head), f"shard {shard}: its row does not fit its events")


def _check_receipts(history: History, judged: dict[int, list[Event]]) -> None:
    """One receipt for each event, and for nothing else."""
    rows = [receipts.row_of(event.envelope) for log in judged.values() for event in log]
    found = list(history.town.database.receipts.values())
    _demand(sorted(rows) == sorted(found), "receipts and events differ")


def _check_memory(history: History, oracle: Oracle) -> None:
    """What a worker has in mind is what a replay gives."""
    streams = {
        stream_id(TENANT, f"customer-{name}"): account for (_, name), account in oracle.accounts.items()
    }
    names = {stream_id(TENANT, f"customer-{name}"): name for _, name in oracle.accounts}
    for (shard, stream), customer in history.memory.items():
        if stream not in streams or history.town.shard(names[stream]) != shard:
            continue
        account = streams[stream]
        status = [bool(since) for since in (customer.blocked, customer.closed, customer.erased)]
        mind = (dict(customer.balances), customer.version, status)
        replayed = [account.blocked, account.closed, account.erased]
        same = mind == (account.balances, account.facts["customer"], replayed)
        _demand(same, f"a worker remembers {customer} of {names[stream]}, a replay gives {account.balances}")


def _check_keys(history: History, oracle: Oracle) -> None:
    """Who is erased has no key, and everybody else who is registered has one."""
    keys = history.town.keys
    for (_, name), account in oracle.accounts.items():
        if account.profile is not None:
            key = keys[owner_of(TENANT, name)]
            _demand((key == b"") == account.erased, f"the key of {name} {'is' if key else 'is not'} there")


def _check_views(history: History, oracle: Oracle) -> None:
    """The read models are what the topic folds to, each event once, and the books balance."""
    views = history.town.views
    known = {name: account for (_, name), account in oracle.accounts.items()}
    wallets = {
        (name, currency): balance
        for name, account in known.items()
        for currency, balance in account.balances.items()
    }
    found = {(key[2], key[3]): row["balance_minor"] for key, row in views.wallets.items()}
    _demand(found == wallets, f"wallets are {found}, a replay gives {wallets}")
    entries = Counter(row["customer_id"] for row in views.entries.values())
    _demand(
        entries == +Counter({name: len(account.entries) for name, account in known.items()}),
        "entries differ from a replay",
    )
    profiles = {name: account.profile for name, account in known.items() if account.profile is not None}
    shown = {
        key[2]: {field: row[field] for field in profiles.get(key[2], ())}
        for key, row in views.customers.items()
    }
    _demand(shown == profiles, f"customers are {shown}, a replay gives {profiles}")
    status = {
        key[2]: tuple(row[since] is not None for since in ("blocked_at", "closed_at", "erased_at"))
        for key, row in views.customers.items()
    }
    replayed = {name: (known[name].blocked, known[name].closed, known[name].erased) for name in profiles}
    _demand(status == replayed, f"blocked, closed and erased are {status}, a replay gives {replayed}")
    erased = {name for name, account in known.items() if account.erased}
    personal = [row for row in views.entries.values() if row.get("reason") is not None]
    personal += [row for row in views.blocks.values() if row["identifier"] != row["customer_id"]]
    kept = erased & {row["customer_id"] for row in personal}
    _demand(not kept, f"something personal is left of {kept}")
    open_blocks = {row["customer_id"] for row in views.blocks.values() if row["unblocked_at"] is None}
    _demand(
        open_blocks == {name for name in known if known[name].blocked}, "the blocklist differs from a replay"
    )
    counted = [sum(column) for column in zip((0, 0), *views.tallies.values(), strict=True)]
    _demand(counted == [len(profiles), entries.total()], f"customers and entries are counted as {counted}")
    books: Counter[str] = Counter()
    for (_, _, _, currency, _), balance in views.accounts.items():
        books[currency] += balance
    _demand(not any(books.values()), f"the books do not balance: {dict(books)}")
    held = sum(balance for key, balance in views.accounts.items() if key[4] == WALLETS)
    _demand(held == sum(wallets.values()), "the account of all wallets does not hold what they hold")
