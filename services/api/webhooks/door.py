"""The door for upstream's webhooks: whose secret signed it says whose it is; 2xx says that Kafka has it."""

import hashlib
import re
from collections.abc import Awaitable, Callable
from time import time
from typing import Any, NamedTuple, Protocol

import msgspec
import structlog
from msgspec import UNSET, Raw, Struct
from standardwebhooks import Webhook, WebhookVerificationError

from events.ids import Tenant
from services.api.call import Call
from services.api.errors import (
    ApiError,
    invalid_body,
    no_webhook_endpoint,
    unavailable,
    webhook_out_of_time,
    webhook_signed_otherwise,
    webhook_unsigned,
    wrong_tenant,
)
from services.api.limits import Limits
from services.api.ports import ViewsUnavailable
from services.api.remembered import Remembered
from services.api.webhooks.endpoints import ENDPOINT_ID

log = structlog.get_logger()

TOLERANCE_SECONDS = 300
BODY_BYTES_MAX = 127 * 1024
"""With what is put around it a record stays within the 128 KiB that intake takes."""

BODY_SECONDS_MAX = 10.0
"""Nobody has shown a key yet when a body is read."""

_STRANGERS = (401, 404)
_ID = re.compile(rb"[\x21-\x7e]{1,256}")
_SECONDS = re.compile(rb"[0-9]{1,12}")
_SIGNATURE = re.compile(r"v1,[A-Za-z0-9+/]{43}=")
_HEADERS = (b"webhook-id", b"webhook-timestamp", b"webhook-signature")


class SecretUnreadable(Exception):
    """An endpoint exists, and its secret does not open."""


class NotPublished(Exception):
    """Kafka did not say that it has the record; it may have it."""


class Opening(NamedTuple):
    """A live endpoint: whose it is, and what its sender signs with. `old_until`: seconds since 1970."""

    tenant: Tenant
    secret: Webhook
    old: Webhook | None
    old_until: float


class Deliveries(Protocol):
    """Which deliveries were taken; both raise ViewsUnavailable."""

    async def taken(self, endpoint_id: str, delivery: bytes) -> bool:
        """Whether it was, within the last days."""
        ...

    async def note(self, endpoint_id: str, delivery: bytes) -> None:
        """It was. Forgets some of the oldest, so that the table stays bounded."""
        ...


class Publisher(Protocol):
    """The way to `payments.events`."""

    async def publish(self, key: bytes, value: bytes) -> None:
        """Returns when Kafka has it, on all replicas in sync. Raises NotPublished."""
        ...


class Delivery(NamedTuple):
    """The three headers of Standard Webhooks."""

    identifier: str
    timestamp: str
    signature: str


class Door:
    """What the route asks. Endpoints are remembered for seconds, like keys."""

    def __init__(
        self,
        endpoint: Callable[[str], Awaitable[Opening | None]],
        deliveries: Deliveries,
        publisher: Publisher,
        limits: Limits,
    ) -> None:
        self._openings = Remembered(endpoint)
        self._deliveries = deliveries
        self._publisher = publisher
        self._limits = limits

    async def take(self, call: Call, endpoint_id: str, bytes_max: int) -> bool:
        """Publish a delivery, once; False: it was taken before.

        Raises:
            ApiError: it is not published, or nobody knows: repeating is safe.
        """
        self._limits.admit(call, self._counted_as(endpoint_id))
        try:
            await self._opening(endpoint_id)
            delivery = _delivery(call)
            body = await call.json_body(
                bytes_max=min(bytes_max, BODY_BYTES_MAX), seconds_max=BODY_SECONDS_MAX
            )
            opening = await self._opening(endpoint_id)  # anew: it may have been revoked while the body came
            _verify(opening, delivery, body)
        except ApiError as error:
            if error.status in _STRANGERS:
                self._limits.refused(call, self._counted_as(endpoint_id))
            raise
        record = wrapped(body, delivery.identifier, endpoint_id, opening.tenant)
        digest = hashlib.sha256(delivery.identifier.encode()).digest()
        try:
            if await self._deliveries.taken(endpoint_id, digest):
                return False
            await self._publisher.publish(digest, record)
        except ViewsUnavailable as error:
            raise unavailable("What was delivered before cannot be looked up at the moment") from error
        except NotPublished as error:
            raise unavailable("Kafka does not take it at the moment: deliver it again") from error
        await self._note(endpoint_id, digest)
        return True

    def _counted_as(self, endpoint_id: str) -> str:
        """An endpoint by itself: upstream serves all of them from few addresses. What is none, together: ids are free."""
        return endpoint_id if self._openings.known(endpoint_id) else ""

    async def _opening(self, endpoint_id: str) -> Opening:
        if not ENDPOINT_ID.fullmatch(endpoint_id):
            raise no_webhook_endpoint()
        try:
            opening = await self._openings.get(endpoint_id)
        except (ViewsUnavailable, SecretUnreadable) as error:
            raise unavailable("This endpoint cannot be looked up at the moment") from error
        if opening is None:
            raise no_webhook_endpoint()
        return opening

    async def _note(self, endpoint_id: str, digest: bytes) -> None:
        """Not worth an error: Kafka has it, and intake knows what it has seen."""
        try:
            await self._deliveries.note(endpoint_id, digest)
        except ViewsUnavailable as error:
            log.warning("a delivery was not noted", endpoint=endpoint_id, error=type(error).__name__)


def wrapped(body: bytes, identifier: str, endpoint_id: str, tenant: Tenant) -> bytes:
    """The CloudEvent for `payments.events`: the tenant is the endpoint's, the data is what was signed.

    What a body lacks, its record lacks too: intake puts it aside with the reason, and nothing signed is lost.

    Raises:
        ApiError: no JSON object, or it names another tenant.
    """
    try:
        said = msgspec.json.decode(body, type=_Said)
    except (msgspec.DecodeError, RecursionError) as error:
        raise invalid_body("The body is no JSON object") from error
    named = (said.business_id, said.businessid, _business_of(said.data))
    if any(name not in (None, tenant.business_id) for name in named) or said.mode not in (None, tenant.mode):
        raise wrong_tenant()
    record: dict[str, object] = {
        "specversion": "1.0",
        "id": identifier,
        "source": f"/webhooks/payments/{endpoint_id}",
        "businessid": tenant.business_id,
        "mode": tenant.mode,
        "datacontenttype": "application/json",
    }
    moment = said.timestamp if said.specversion is UNSET else said.time
    for name, value in (("type", said.type), ("time", moment), ("data", said.data)):
        if bytes(value):
            record[name] = value
    return _encode(record)


class _Said(Struct):
    """A webhook's envelope, or a CloudEvent."""

    type: Raw = Raw()
    timestamp: Raw = Raw()
    time: Raw = Raw()
    data: Raw = Raw()
    specversion: Any = UNSET
    business_id: Any = None
    businessid: Any = None
    mode: Any = None


class _Named(Struct):
    business_id: Any = None


_encode = msgspec.json.Encoder().encode


def _business_of(data: Raw) -> Any:
    try:
        return msgspec.json.decode(data, type=_Named).business_id
    except (msgspec.DecodeError, RecursionError):
        return None  # missing, or no object: intake says so


def _delivery(call: Call) -> Delivery:
    """Raises ApiError: a header is missing, of another form, twice, or of another time."""
    identifier, timestamp, signature = (call.headers.get(name, b"") for name in _HEADERS)
    twice = (call.repeated or set()).intersection(_HEADERS)
    if not _ID.fullmatch(identifier) or not signature.isascii() or twice:
        raise webhook_unsigned()
    if not _SECONDS.fullmatch(timestamp) or abs(time() - int(timestamp)) > TOLERANCE_SECONDS:
        raise webhook_out_of_time()
    return Delivery(identifier.decode(), timestamp.decode(), signature.decode())


def _verify(opening: Opening, delivery: Delivery, body: bytes) -> None:
    """Of several signatures one that fits is enough; the library gives up at one of another form, so those are left out.

    Raises:
        ApiError: neither secret has signed this.
    """
    signatures = [one for one in delivery.signature.split(" ") if _SIGNATURE.fullmatch(one)]
    headers = {
        "webhook-id": delivery.identifier,
        "webhook-timestamp": delivery.timestamp,
        "webhook-signature": " ".join(signatures),
    }
    old = [opening.old] if opening.old is not None and time() < opening.old_until else []
    for secret in (opening.secret, *old):
        try:
            secret.verify(body, headers, json_parse=False)
            return
        except (WebhookVerificationError, UnicodeDecodeError):
            continue
    raise webhook_signed_otherwise()
