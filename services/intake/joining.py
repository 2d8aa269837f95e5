"""Whose a record is, and what the ledger is asked about it. Pure."""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from msgspec import UNSET

from events.codec import encode_ask
from events.commands import Command, Origin
from events.upstream import RecordDispute, RecordPayment, RecordRefund
from services.intake.table import Name, Waiting
from services.intake.understanding import Said
from services.reading import Record

OF_PAYMENT = (RecordPayment, RecordRefund, RecordDispute)
"""What moves the money of a payment. Under a second customer it would move it twice."""


class Joined(NamedTuple):
    """A record that the ledger is asked about."""

    record: Record
    command: Command
    waiting: Waiting | None = None
    """Where it waited for its payment, if it did."""


def is_moved(said: Said, owner: str) -> bool:
    """Whether it names another customer than `owner`, whose payment it is."""
    return isinstance(said.ask, OF_PAYMENT) and owner not in ("", said.customer) and bool(said.customer)


def payments_of(said: Iterable[Said]) -> dict[Name, str]:
    """Whose payments these are: what is told of a payment itself says it, the first word for all time."""
    found: dict[Name, str] = {}
    for one in said:
        if isinstance(one.ask, RecordPayment) and one.customer:
            found.setdefault(name_of(one), one.customer)
    return found


def name_of(said: Said) -> Name:
    return Name(said.tenant.business_id, said.tenant.mode, said.payment)


def join(record: Record, said: Said, customer: str) -> Joined:
    """The same fact makes the same command, however often and by whichever door it comes."""
    ask = said.ask
    assert ask is not None, "what asks for nothing is passed over"
    identity = "in-" + hashlib.sha256(f"{said.tenant}|{customer}|{said.key}".encode()).hexdigest()[:40]
    command = Command(
        id=identity,
        source="/intake",
        type=ask.TYPE,
        subject=customer,
        businessid=said.tenant.business_id,
        mode=said.tenant.mode,  # type: ignore[arg-type]
        origin=Origin.INTAKE,
        actor="intake",
        correlationid=identity,
        idempotencykey=said.key,
        effectivetime=ask.told.time,
        deadline=UNSET,
        data=encode_ask(ask),
    )
    return Joined(record, command)
