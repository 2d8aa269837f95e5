"""How moments are written."""

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta

Timestamp = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z\Z",
        description="RFC 3339, UTC, microseconds",
    ),
]


def in_utc(moment: datetime) -> datetime:
    """UTC where it does not say.

    Raises:
        OverflowError: it is at the end of the calendar, and has no UTC.
    """
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def written(moment: datetime) -> str:
    """A moment in UTC as `Timestamp`."""
    # strftime drops zeros of a year
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
