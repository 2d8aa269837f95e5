"""What is known about a fact besides the fact: CloudEvents 1.0, structured mode."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from events.commands import CustomerIdText, Identifier, Origin
from events.ids import CustomerId, Tenant, owner_of, place_of
from events.times import Timestamp

Hex256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Envelope(Struct, frozen=True, kw_only=True):
    """Attributes of one event; `data` is the fact as stored."""

    specversion: Literal["1.0"] = "1.0"
    id: Annotated[str, Meta(description="the position, unique within the ledger")]
    source: Annotated[str, Meta(pattern=r"^/shards/[0-9]{1,4}\Z")]
    type: str
    datacontenttype: Literal["application/json"] = "application/json"
    subject: CustomerIdText
    time: Annotated[Timestamp, Meta(description="recorded; never goes back within a shard")]
    effectivetime: Annotated[Timestamp, Meta(description="the caller's; default: time")]
    sequence: Annotated[str, Meta(pattern=r"^[0-9]{20}\Z", description="place in the shard, gapless")]
    previoushash: Annotated[Hex256, Meta(description="SHA-256 of the previous event's bytes in this shard")]
    stream: Annotated[str, Meta(description="category-id of the aggregate")]
    streamversion: Annotated[int, Meta(ge=1, description="place in the stream, gapless")]
    businessid: Identifier
    mode: Literal["live", "test"]
    origin: Origin
    actor: Identifier
    causationid: Identifier
    correlationid: Identifier
    keyhash: Annotated[Hex256, Meta(description="SHA-256 of the idempotency key")]
    requesthash: Annotated[
        str, Meta(pattern=r"^[0-9]+:[0-9a-f]{64}\Z", description="version:HMAC of the request")
    ]
    commandid: Identifier
    commandposition: Annotated[int, Meta(ge=0, description="offset of the command in its partition")]
    attempt: (
        Annotated[int, Meta(ge=0, description="of a keyless command: the caller's retry count")] | UnsetType
    ) = UNSET
    data: Raw

    @property
    def tenant(self) -> Tenant:
        return Tenant(self.businessid, self.mode)

    @property
    def customer_id(self) -> CustomerId:
        return CustomerId(self.subject)

    @property
    def owner(self) -> UUID:
        """Whose receipt this event carries, and whose key seals it."""
        return owner_of(self.tenant, self.subject)

    @property
    def place(self) -> UUID:
        """The stream as it is stored."""
        return place_of(self.tenant, self.subject, self.stream)

    @property
    def shard(self) -> int:
        return int(self.source.rpartition("/")[2])
