"""What was asked of upstream, and what became of it?"""

from collections.abc import Iterable, Iterator, Sequence

from msgspec import UNSET, Struct, UnsetType

from events.foreign import FAILED
from events.recorded import PaymentRecorded, RefundRecorded, SubscriptionRecorded
from events.requested import RefundRequested, SubscriptionChangeRequested, TopUpRequested
from services.projections.read_models.event import Event
from services.projections.read_models.statement import Statement, statement

PENDING, SETTLED, FELL, DECLINED = "pending", "settled", "failed", "declined"
REFUND, CHANGE, TOP_UP = "refund", "subscription_change", "top_up"

_CONCERNED = (
    RefundRequested,
    SubscriptionChangeRequested,
    TopUpRequested,
    RefundRecorded,
    SubscriptionRecorded,
    PaymentRecorded,
)


class Request(Struct, kw_only=True):
    """A row. `object_id`: what it is about; of a top-up the payment that answered it."""

    business_id: str
    mode: str
    customer_id: str
    request_id: str
    shard: int
    kind: str
    status: str
    object_id: str | UnsetType = UNSET
    currency: str | UnsetType = UNSET
    amount_minor: int | UnsetType = UNSET
    created_at: str
    updated_at: str


class Answered(Struct, kw_only=True):
    """What changes of a row, if there is one: most refunds were not asked for here."""

    business_id: str
    mode: str
    customer_id: str
    request_id: str
    kind: str
    status: str
    object_id: str
    updated_at: str


INSERT = """
    INSERT INTO requests (business_id, mode, customer_id, request_id, shard, kind, status, object_id, currency,
                          amount_minor, created_at, updated_at)
    SELECT business_id, mode, customer_id, request_id, shard, kind, status, object_id, currency, amount_minor,
        created_at, updated_at
    FROM json_to_recordset(%s::json) AS new (
        business_id text, mode text, customer_id text, request_id text, shard int, kind text, status text,
        object_id text, currency text, amount_minor bigint, created_at timestamptz, updated_at timestamptz)
"""

UPDATE = """
    UPDATE requests AS old SET
        status = new.status, object_id = new.object_id, updated_at = new.updated_at
    FROM json_to_recordset(%s::json) AS new (
        business_id text, mode text, customer_id text, request_id text, kind text, status text, object_id text,
        updated_at timestamptz)
    WHERE old.business_id = new.business_id AND old.mode = new.mode AND old.customer_id = new.customer_id
        AND old.request_id = new.request_id AND old.kind = new.kind
        AND (old.status <> 'settled' OR (old.object_id = new.object_id AND old.kind <> 'subscription_change'))
"""
"""What is settled stays so, whatever becomes of another payment that was tried for the same top-up, or of a subscription
that was changed as it was asked for; of the last answers about one object it also does not matter whether they come one by
one or as the last of them (`_in_turn`)."""


def project(events: Sequence[Event]) -> Iterator[Statement]:
    """At most one insert, and then an update; more only where several payments answer one request."""
    concerned = [event for event in events if isinstance(event.fact, _CONCERNED)]
    if asked := [row for event in concerned if (row := _asked(event)) is not None]:
        yield statement(INSERT, asked)
    for answered in _in_turn(a for event in concerned if (a := _answered(event)) is not None):
        yield statement(UPDATE, answered)


def _in_turn(answers: Iterable[Answered]) -> list[list[Answered]]:
    """Of a request one answer each time: an update takes no row twice. Of one object only the last one counts, and of a
    change none after it is done."""
    turns: list[dict[tuple[str, str, str, str], Answered]] = []
    last: dict[tuple[str, str, str, str], int] = {}
    for one in answers:
        request = (one.business_id, one.mode, one.customer_id, one.request_id)
        turn = last.get(request, -1)
        if turn >= 0 and (turns[turn][request].kind, turns[turn][request].status) == (CHANGE, SETTLED):
            continue
        if turn < 0 or turns[turn][request].object_id != one.object_id:
            turn += 1
        if turn == len(turns):
            turns.append({})
        turns[turn][request] = one
        last[request] = turn
    return [list(turn.values()) for turn in turns]


def _asked(event: Event) -> Request | None:
    match event.fact:
        case RefundRequested() as fact:
            return _row(event, fact.request_id, REFUND, fact.payment_id, fact.currency, fact.amount)
        case SubscriptionChangeRequested() as fact:
            return _row(event, fact.request_id, CHANGE, fact.subscription_id)
        case TopUpRequested() as fact:
            return _row(event, fact.request_id, TOP_UP, UNSET, fact.currency, fact.amount)
        case _:
            return None


def _answered(event: Event) -> Answered | None:
    match event.fact:
        case RefundRecorded(refund=refund):
            return _change(event, refund.refund_id, REFUND, _became(refund.status), refund.payment_id)
        case SubscriptionRecorded(answer=answer, subscription=subscription) if answer is not UNSET:
            status = SETTLED if answer.applied else DECLINED
            return _change(event, answer.request_id, CHANGE, status, subscription.subscription_id)
        case PaymentRecorded(payment=payment) if payment.request_id is not UNSET:
            return _change(event, payment.request_id, TOP_UP, _became(payment.status), payment.payment_id)
        case _:
            return None


def _became(status: str) -> str:
    if status == "succeeded":
        return SETTLED
    return FELL if status in FAILED else PENDING


def _row(
    event: Event,
    request_id: str,
    kind: str,
    object_id: str | UnsetType,
    currency: str | UnsetType = UNSET,
    amount: int | UnsetType = UNSET,
) -> Request:
    envelope = event.envelope
    return Request(
        business_id=envelope.businessid,
        mode=envelope.mode,
        customer_id=envelope.subject,
        request_id=request_id,
        shard=event.shard,
        kind=kind,
        status=PENDING,
        object_id=object_id,
        currency=currency,
        amount_minor=amount,
        created_at=envelope.time,
        updated_at=envelope.time,
    )


def _change(event: Event, request_id: str, kind: str, status: str, object_id: str) -> Answered:
    envelope = event.envelope
    return Answered(
        business_id=envelope.businessid,
        mode=envelope.mode,
        customer_id=envelope.subject,
        request_id=request_id,
        kind=kind,
        status=status,
        object_id=object_id,
        updated_at=envelope.time,
    )
