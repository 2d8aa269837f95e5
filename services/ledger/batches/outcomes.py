"""What becomes of commands: decided facts, answers."""

from collections.abc import Sequence
from typing import NamedTuple

from events.facts import AnyFact
from events.replies import Reply
from services.ledger.batches.admission import Asked


class Answer(NamedTuple):
    """A reply and where it goes."""

    to: str
    reply: Reply


class Decided(NamedTuple):
    """What follows from a new command; `hashed` is its request hash."""

    asked: Asked
    hashed: str
    facts: Sequence[AnyFact]


class NoDataKey(Exception):
    """A registered customer without a data key: the key table is behind the store."""


class Unsure(Exception):
    """Deciding failed where no receipt was looked for: a repeat, decided as new, may meet what it made itself.

    What fails writes no receipt, so the commit would not see that the key is known.
    """
