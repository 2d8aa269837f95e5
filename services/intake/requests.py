"""From an event of ours to what upstream is asked, in clear. Pure."""

import re
from uuid import UUID

import msgspec
from msgspec import Raw

from events.codec import decode_envelope, decode_fact
from events.envelope import Envelope
from events.facts import AnyFact
from events.for_upstream import (
    REQUESTS_BY_TYPE,
    RefundRequest,
    RequestEvent,
    SubscriptionChangeRequest,
    TopUpRequest,
)
from events.personal import Personal
from events.requested import RefundRequested, SubscriptionChangeRequested, TopUpRequested
from events.requests import SubscriptionChange
from events.sealing import Unsealable, unseal

HEAD_BYTES = 512
"""In which the type of an event stands: before all that callers choose."""

_TYPES = re.compile(b'"type":"(?:%s)"' % b"|".join(re.escape(name.encode()) for name in REQUESTS_BY_TYPE))
_encoder = msgspec.json.Encoder()


def asks_upstream(value: bytes) -> bool:
    """By a look at the bytes: of a thousand events one may ask for something."""
    return _TYPES.search(value, 0, HEAD_BYTES) is not None


def owner(value: bytes) -> UUID:
    """Whose key opens it."""
    return decode_envelope(value).owner


def is_sealed(value: bytes) -> bool:
    """Whether it holds something that a key opens."""
    return decode_fact(decode_envelope(value)).sealed is not msgspec.UNSET


def request_of(value: bytes, key: bytes | None) -> RequestEvent:
    """Without a key, or with one that does not open it, without what names people: the money is the same.

    Raises:
        Malformed: it is no event of ours.
    """
    envelope = decode_envelope(value)
    fact = decode_fact(envelope)
    return RequestEvent(
        id=envelope.id,
        source=envelope.source,
        type=envelope.type,
        subject=envelope.subject,
        time=envelope.time,
        businessid=envelope.businessid,
        mode=envelope.mode,
        data=Raw(_encoder.encode(_data(fact, _personal(fact, envelope, key)))),
    )


def encode_request(request: RequestEvent) -> bytes:
    return _encoder.encode(request)


def _personal(fact: AnyFact, envelope: Envelope, key: bytes | None) -> Personal:
    if key is None:
        return Personal()
    try:
        opened = unseal(fact, key, envelope.stream, envelope.id).personal
    except Unsealable:
        return Personal()
    return opened if isinstance(opened, Personal) else Personal()


def _data(fact: AnyFact, personal: Personal) -> RefundRequest | SubscriptionChangeRequest | TopUpRequest:
    match fact:
        case RefundRequested():
            return RefundRequest(
                request_id=fact.request_id,
                payment_id=fact.payment_id,
                currency=fact.currency,
                amount=fact.amount,
                is_partial=fact.is_partial,
                items=fact.items,
                reason=personal.reason,
                metadata=personal.metadata,
            )
        case SubscriptionChangeRequested():
            change = {**msgspec.to_builtins(fact.change), **(personal.change or {})}
            return SubscriptionChangeRequest(
                request_id=fact.request_id,
                subscription_id=fact.subscription_id,
                change=msgspec.convert(change, SubscriptionChange),
            )
        case TopUpRequested():
            return TopUpRequest(
                request_id=fact.request_id,
                currency=fact.currency,
                amount=fact.amount,
                return_url=personal.return_url,
                metadata=personal.metadata,
            )
        case _:
            raise AssertionError(f"{fact.TYPE} asks nothing of upstream")
