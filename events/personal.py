"""What identifies a person: leaves a process only sealed (facts) or for days (commands), never in a log."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

NO_NUL = r"^[^\x00]*$"

Name = Annotated[str, Meta(max_length=512, pattern=NO_NUL)]
Email = Annotated[str, Meta(max_length=512, pattern=NO_NUL)]
Phone = Annotated[str, Meta(max_length=64, pattern=NO_NUL)]
Reason = Annotated[str, Meta(max_length=1024, pattern=NO_NUL)]
LongReason = Annotated[str, Meta(max_length=3000, pattern=NO_NUL)]
ReturnUrl = Annotated[str, Meta(max_length=2048, pattern=NO_NUL)]
IdempotencyKey = Annotated[str, Meta(min_length=1, max_length=255, pattern=NO_NUL)]
MetadataKey = Annotated[str, Meta(max_length=40, pattern=r"^[A-Za-z0-9_-]+\Z")]
MetadataText = Annotated[str, Meta(max_length=500, pattern=NO_NUL)]
MetadataInt = Annotated[int, Meta(ge=-(2**53) + 1, le=2**53 - 1)]
Metadata = Annotated[dict[MetadataKey, MetadataText | MetadataInt | float | bool], Meta(max_length=50)]
Foreign = Annotated[dict[str, Any], Meta(description="an object of upstream as it came, unknown fields too")]


class Personal(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Absent fields say nothing; null clears."""

    name: Name | UnsetType = UNSET
    email: Email | UnsetType = UNSET
    phone_number: Phone | UnsetType | None = UNSET
    metadata: Metadata | UnsetType = UNSET
    reason: LongReason | UnsetType = UNSET
    identifier: Email | UnsetType = UNSET
    idempotency_key: IdempotencyKey | UnsetType = UNSET
    foreign: Foreign | UnsetType = UNSET
    return_url: ReturnUrl | UnsetType = UNSET
    change: Foreign | UnsetType = UNSET
