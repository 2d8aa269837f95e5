"""Cursors: where a page ended, as an opaque word that only fits the list it came from."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec

from events.ids import Tenant
from services.api.errors import ApiError

VERSION = 1
LENGTH_MAX = 512
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TAG_BYTES = 12
_INT64_MAX = 2**63 - 1

Number = Annotated[int, msgspec.Meta(ge=0, le=_INT64_MAX)]
Micros = Annotated[int, msgspec.Meta(ge=-62_135_596_800_000_000, le=253_402_300_799_999_999)]
"""Microseconds since 1970, of the years 1 to 9999: upstream's objects are as old as it says."""

Word = Annotated[str, msgspec.Meta(max_length=512, pattern=r"^[^\x00]*\Z")]


class Cursors:
    """Of one list: a route with its tenant, filter and order. The tag finds accidents and mix-ups.

    It is no secret: who computes it himself reaches another place of his own list, never another tenant's.
    """

    def __init__(self, route: str, tenant: Tenant, listed: Mapping[str, str], key: Any) -> None:
        """`listed`: the parameters that make the list; `key`: the type of a place in it, a tuple."""
        said = [VERSION, route, tenant.business_id, tenant.mode, sorted(listed.items())]
        self._context = msgspec.json.encode(said)
        self._decoder = msgspec.msgpack.Decoder(tuple[int, key])

    def encode(self, place: tuple[Any, ...]) -> str:
        body = msgspec.msgpack.encode((VERSION, place))
        return base64.urlsafe_b64encode(self._tag(body) + body).decode().rstrip("=")

    def decode(self, text: str) -> Any:
        """The place.

        Raises:
            ApiError: 422 INVALID_CURSOR, it was changed, belongs to another list, or is of an unknown version.
        """
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            tag, body = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
            if len(text) > LENGTH_MAX or tag != self._tag(body):
                raise invalid_cursor()
            version, place = self._decoder.decode(body)
        except (binascii.Error, ValueError, msgspec.DecodeError) as error:
            raise invalid_cursor() from error
        if version != VERSION:
            raise invalid_cursor()
        return place

    def _tag(self, body: bytes) -> bytes:
        return hashlib.sha256(self._context + b"|" + body).digest()[:_TAG_BYTES]


def invalid_cursor() -> ApiError:
    return ApiError(
        422, "INVALID_CURSOR", "The cursor was changed, or belongs to another filter or order: start again"
    )


def micros(time: datetime) -> int:
    """Since 1970."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def moment(since_1970: int) -> datetime:
    return _EPOCH + timedelta(microseconds=since_1970)
