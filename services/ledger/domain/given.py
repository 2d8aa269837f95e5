"""What comes to a decision from outside. Pure."""

from typing import NamedTuple


class Given(NamedTuple):
    """What a decision may depend on besides state and command. The last three concern what upstream says."""

    entry_id: str
    currencies: frozenset[str]
    rules: frozenset[str] = frozenset()
    print: str = ""
    profile_print: str = ""

    @property
    def block_id(self) -> str:
        """One receipt, one thing made: its name follows from the same material."""
        return "blk_" + self.entry_id.removeprefix("wle_")
