"""What all facts have in common."""

from typing import ClassVar

from msgspec import UNSET, Struct, UnsetType

from events.personal import Personal


class Fact(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all facts. `personal` lives in memory only; what is stored is `sealed`."""

    TYPE: ClassVar[str]
    CATEGORY: ClassVar[str] = "customer"

    personal: Personal | UnsetType = UNSET
    sealed: str | UnsetType = UNSET
