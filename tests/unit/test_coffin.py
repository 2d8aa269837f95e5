"""What is put aside is sealed under the key of its month, or not at all."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
import pytest

from events.dead_letters import SealedLetter
from events.sealing import new_key, wrap_key
from services.coffin import DeadLetter, MonthlyCoffin, month_owner, opened
from services.keyring import DataKeys, KeyRing, NoKey

NOVEMBER_MICROS = 1_795_900_000_000_000
OWNER = month_owner("2026-11")
KEK = new_key()
LETTER = DeadLetter(3, 7, b"{", "INVALID_COMMAND", "why")


class Ring(KeyRing):
    """Its table has one row: `wrapped`, None where the key was destroyed."""

    def __init__(self, wrapped: bytes | None) -> None:
        super().__init__("", KEK)
        self.wrapped = wrapped

    def _run(self, statement: str, parameters: Sequence[object]) -> list[tuple[UUID, bytes]]:
        reads = statement.startswith("SELECT owner, wrapped")
        return [(OWNER, self.wrapped)] if reads and self.wrapped is not None else []


def coffin(ring: Ring) -> MonthlyCoffin:
    return MonthlyCoffin("ledger.commands", DataKeys(ring), lambda: NOVEMBER_MICROS)


async def test_a_letter_opens_with_the_key_of_its_month() -> None:
    key = new_key()
    place, value = await coffin(Ring(wrap_key(KEK, key, str(OWNER)))).seal(LETTER)
    letter = msgspec.json.decode(value, type=SealedLetter)
    assert (place, letter.month, opened(key, letter)) == (b"ledger.commands/3/7", "2026-11", b"{")


@pytest.mark.parametrize(
    ("wrapped", "why"), [(b"damaged" + bytes(50), "its row is damaged"), (None, "it was destroyed")]
)
async def test_without_the_key_of_its_month_nothing_is_sealed_and_it_is_said_why(
    wrapped: bytes | None, why: str
) -> None:
    ring = Ring(wrapped)
    own = coffin(ring)
    with pytest.raises(NoKey, match=f"the key of dead letters of 2026-11 .*{why}"):
        await own.seal(LETTER)
    ring.wrapped = wrap_key(KEK, new_key(), str(OWNER))
    await own.seal(LETTER)
