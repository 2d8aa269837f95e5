"""Records that could not be decided, on `ledger.dead-letters`: for operators, kept for days."""

from typing import Annotated

from msgspec import Meta, Struct

from events.times import Timestamp


class SealedLetter(Struct, frozen=True, kw_only=True):
    """Where the record was found and why it is here; the record itself is sealed, it may name people."""

    topic: str
    partition: Annotated[int, Meta(ge=0)]
    offset: Annotated[int, Meta(ge=0)]
    time: Annotated[Timestamp, Meta(description="when it was put here")]
    code: str
    message: str
    month: Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}\Z", description="whose key opens it")]
    sealed: str
