"""From a record of `payments.events` to what the ledger is asked, or to the reason why not. Permissive. Pure.

A CloudEvent or the bare webhook envelope `{business_id, type, timestamp, data}`. What is unknown is kept, what is
missing or null is missing, what has the wrong type is left to the object as it came.
"""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from events import upstream
from events.codec import timestamp
from events.commands import CustomerIdText, Identifier
from events.foreign import Dispute, ForeignId, LicenceKey, Payment, Refund, Subscription, Told, Word
from events.ids import RefundId, Tenant
from events.upstream import Named, RecordUpstream
from services.intake.record import NotUnderstood, object_of

S = TypeVar("S", bound=msgspec.Struct)

MINOR_DIGITS_MAX = 17
AHEAD_MICROS_MAX = 24 * 3600 * 1_000_000
"""News of an object count until newer ones: of a year to come none would count until then."""
TYPES = frozenset(
    f"{family}.{name}"
    for family, names in {
        "payment": "succeeded failed processing cancelled",
        "refund": "succeeded failed",
        "dispute": "opened expired accepted cancelled challenged won lost",
        "subscription": "active renewed on_hold past_due paused unpaused cancelled failed expired plan_changed "
        "updated update_payment_method",
        "license_key": "created",
        "entitlement_grant": "created delivered failed revoked",
        "credit": "added deducted expired rolled_over rollover_forfeited overage_charged overage_reset "
        "manual_adjustment balance_low",
        "dunning": "started recovered",
        "abandoned_checkout": "detected recovered",
        "payout": "created on_hold in_progress failed success",
    }.items()
    for name in names.split()
)
_ACTIVE = frozenset({"renewed", "unpaused", "plan_changed", "updated", "update_payment_method"})
_encoder = msgspec.json.Encoder(order="sorted")


class Said(NamedTuple):
    """`customer` is "" where only the payment is named. `ask` None: it concerns no customer of ours."""

    tenant: Tenant
    type: str
    known: bool
    customer: str
    payment: str
    ask: RecordUpstream | None
    key: str


def understand(value: bytes, mode: str, now: int) -> Said:
    """`mode`: of a record that does not say it; "" where it must. `now` in microseconds.

    Raises:
        NotUnderstood: a dead letter.
    """
    whole = object_of(value)
    cloud = "specversion" in whole
    data = whole.get("data")
    kind, time = whole.get("type"), whole.get("time" if cloud else "timestamp")
    if not isinstance(kind, str) or not isinstance(data, dict):
        raise NotUnderstood("NOT_AN_EVENT", "type and data are needed: a CloudEvent or a webhook's envelope")
    business = whole.get("businessid") or whole.get("business_id") or data.get("business_id")
    bare = ".".join(kind.rsplit(".", 2)[-2:])
    known = bare in TYPES
    person = _dict(data.get("customer"))
    customer = person.get("customer_id") or data.get("customer_id") or ""
    head = _head(business, bare if known else kind, customer)
    tenant = Tenant(head.business_id, str(whole.get("mode") or mode))
    if tenant.mode not in ("live", "test"):
        raise NotUnderstood(
            "NO_MODE", "mode is live or test: in the record, or by WALLET_LEDGER_UPSTREAM_MODE"
        )
    told = Told(type=head.type, time=_moment(time), updated=_time(data.get("updated_at")) or UNSET)
    if max(told.time, told.updated or "") > timestamp(now + AHEAD_MICROS_MAX):
        raise NotUnderstood(
            "TIME_AHEAD", "timestamp or updated_at is more than a day ahead: whose clock is wrong?"
        )
    name, ask = _ask(head.type if known else "", told, data, _lenient(Named, _present(person)))
    payment = _named(data.get("payment_id"))
    key = f"{name}:{head.type[:64]}:{told.time}:{hashlib.sha256(_encoder.encode(data)).hexdigest()[:16]}"
    return Said(tenant, head.type, known, customer, payment, ask if customer or payment else None, key)


def _ask(kind: str, told: Told, data: dict[str, Any], named: Named) -> tuple[str, RecordUpstream]:
    """The object's id and what is asked. `kind` "" for what we do not know."""
    family, _, word = kind.partition(".")
    metadata = _dict(data.get("metadata"))
    request = metadata.get("request_id")
    action = metadata.get("wallet_action")
    present = _present(
        {**data, "wallet_action": action, "request_id": request, "licence_key_id": data.get("id")}
    )
    common: dict[str, Any] = {"told": told, "foreign": data, "customer": named}
    match family:
        case "payment":
            payment = _strict(Payment, present, status=word)
            return payment.payment_id, upstream.RecordPayment(payment=payment, **common)
        case "refund":
            refund = _strict(Refund, _asked_for(present, request), status=word)
            return refund.refund_id, upstream.RecordRefund(refund=refund, **common)
        case "dispute":
            dispute = _strict(Dispute, present, dispute_status=f"dispute_{word}")
            return dispute.dispute_id, upstream.RecordDispute(dispute=dispute, **common)
        case "subscription":
            status = "active" if word in _ACTIVE else word
            subscription = _strict(Subscription, present, status=status)
            return subscription.subscription_id, upstream.RecordSubscription(
                subscription=subscription, **common
            )
        case "license_key":
            licence = _strict(LicenceKey, present, status="active")
            return licence.licence_key_id, upstream.RecordLicenceKey(licence_key=licence, **common)
        case _:
            return "upstream", RecordUpstream(**common)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _named(payment_id: Any) -> str:
    """ "" for what cannot be the name of a payment: it is looked up, and kept, as one."""
    try:
        return msgspec.convert(payment_id, ForeignId)
    except msgspec.ValidationError:
        return ""


def _asked_for(present: dict[str, Any], request: Any) -> dict[str, Any]:
    """A refund that we asked for goes by the id that the asker was given; and to the card, whatever the metadata of the
    asker says of wallets: upstream passes that back."""
    try:
        ours = msgspec.convert(request, RefundId)
    except msgspec.ValidationError:
        return present
    return {name: value for name, value in present.items() if name != "wallet_action"} | {"refund_id": ours}


def _present(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value is not None}


def _strict(struct: type[S], present: dict[str, Any], **otherwise: str) -> S:
    """Raises NotUnderstood where a field is missing without which nothing can be done."""
    try:
        return _lenient(struct, present, **otherwise)
    except msgspec.ValidationError as error:
        raise NotUnderstood("INCOMPLETE", f"{struct.__name__}: {_line(error)}") from error


@cache
def _fields(struct: type[msgspec.Struct]) -> tuple[dict[str, Any], list[str]]:
    """Types by name, and which are moments. Kept, because msgspec evaluates all annotations at each call."""
    kinds = {one.encode_name: one.type for one in msgspec.structs.fields(struct)}
    return kinds, [name for name in kinds if name.endswith(("_at", "_date"))]


def _lenient(struct: type[S], found: dict[str, Any], **otherwise: str) -> S:
    """Each field for itself: what does not fit is as if it were missing. Nearly always all fit, which one look tells.

    `found` without nulls; it is used up.
    """
    kinds, times = _fields(struct)
    for name in times:
        if name in found and (moment := _time(found.pop(name))) is not None:
            found[name] = moment
    amount = found.get("amount")
    if isinstance(amount, str) and amount.isdecimal():
        found["amount"] = int(amount[:MINOR_DIGITS_MAX])  # a dispute's: minor units as text
    with suppress(msgspec.ValidationError):
        return msgspec.convert(otherwise | found, struct)
    return msgspec.convert(otherwise | dict(_fitting(kinds, found)), struct)


def _fitting(kinds: dict[str, Any], found: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in kinds.keys() & found.keys():
        with suppress(msgspec.ValidationError):
            yield name, msgspec.convert(found[name], kinds[name])


def _time(value: Any) -> str | None:
    """As we write moments; None where it is none."""
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo not in (None, UTC):
            moment = moment.astimezone(UTC)
        return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
    except (TypeError, ValueError, OverflowError):
        return None


def _moment(value: Any) -> str:
    if (moment := _time(value)) is None:
        raise NotUnderstood("NO_TIME", "timestamp (or time) is needed, RFC 3339")
    return moment


class _Head(msgspec.Struct):
    """What no record can do without; who it is of may be told by its payment."""

    business_id: Identifier
    type: Word
    customer_id: CustomerIdText | UnsetType = UNSET


def _head(business: Any, kind: str, customer: Any) -> _Head:
    """One look at all: a look at each took a tenth of the time that a record takes."""
    found = _present({"business_id": business, "type": kind, "customer_id": customer or None})
    try:
        return msgspec.convert(found, _Head)
    except msgspec.ValidationError as error:
        message = "business_id, type or customer_id is missing or of another form"
        raise NotUnderstood("INCOMPLETE", message) from error


def _line(error: Exception) -> str:
    """What is missing; never a value."""
    text = str(error)
    return text if "missing required field" in text else "a field has another form"
