"""What comes to a decision from outside. Pure."""

from typing import NamedTuple

from events.ids import entry_id


class Given(NamedTuple):
    """What a decision may depend on besides state and command. The prints concern what upstream says."""

    receipt: bytes
    currencies: frozenset[str]
    rules: frozenset[str] = frozenset()
    print: str = ""
    profile_print: str = ""
    time: str = "1970-01-01T00:00:00.000000Z"

    @property
    def entry_id(self) -> str:
        """Made when it is needed: most of what upstream says moves no money."""
        return entry_id(self.receipt)

    @property
    def block_id(self) -> str:
        return self.made("blk_")

    def made(self, prefix: str) -> str:
        """One receipt, one thing made: its name follows from the same material."""
        return prefix + self.entry_id.removeprefix("wle_")
