"""Facts to their last field, in clear."""

from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from events.codec import decode_fact
from events.commands import AnyAsk
from events.ids import derived, entry_id
from events.sealing import unseal
from services.ledger.batches.receipts import material_of
from tests.unit.ledger.deck import Deck, envelopes

A = "cus_a"
MADE = "0" * 21
"""In place of what is made of a command's receipt."""
MADE_TOO = "1" * 21
"""The second entry of a command."""


def facts(*asks: AnyAsk) -> list[Any]:
    """What the last of these leaves, in clear; the names made of its receipt in the form of MADE."""
    deck = Deck()
    for ask in asks:
        asked = deck.asked(A, ask)
        batch = deck.play(asked)
    name = entry_id(material_of(asked.key))
    second = derived("wle_", f"{name} 1")
    stored = []
    for event in envelopes(batch):
        data = bytes(event.data).replace(name[4:].encode(), MADE.encode())
        data = data.replace(second[4:].encode(), MADE_TOO.encode())
        clear = unseal(decode_fact(event), bytes(32), event.stream, event.id)
        stored.append(replace(decode_fact(replace(event, data=type(event.data)(data))),
                              personal=clear.personal, sealed=UNSET))  # fmt: skip
    return stored
