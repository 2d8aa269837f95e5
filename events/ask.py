"""What all commands' data have in common."""

from typing import ClassVar

from msgspec import Struct


class Ask(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all commands' data: the named business fields, over which the request hash is made."""

    TYPE: ClassVar[str]

    @property
    def streams(self) -> tuple[str, ...]:
        """Of the customer's shard, besides his own, that it reads and writes: one of a category."""
        return ()
