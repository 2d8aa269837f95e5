"""Sealed parts in clear. An object of upstream stays the bytes it came in: rows take it as a whole."""

from typing import Any, cast

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from events.facts import AnyFact
from events.personal import Personal
from events.recorded import Recorded
from events.sealing import additional_data, open_bytes, unseal


class _AsItCame(Struct):
    foreign: Raw | UnsetType = UNSET


_decoder = msgspec.json.Decoder(_AsItCame)


def opened(fact: AnyFact, key: bytes, stream: str, position: str) -> AnyFact:
    """Raises Unsealable."""
    if not isinstance(fact, Recorded) or fact.sealed is UNSET:
        return unseal(fact, key, stream, position)
    plain = open_bytes(key, fact.sealed, additional_data(stream, position))
    foreign = cast(Any, _decoder.decode(plain).foreign)
    return msgspec.structs.replace(fact, personal=Personal(foreign=foreign), sealed=UNSET)
