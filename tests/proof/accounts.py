"""What the oracle remembers: a customer, what his wallets hold, and what upstream has said of what he bought."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

LARGEST = 2**53 - 1
Note = tuple[object, ...]
Rule = tuple[str, str, str]
"""Name of the rule, currency, and the object that it is about."""


class Said(NamedTuple):
    """`fact` counts the facts of a stream from 1: the first that this is about. None for what does not apply."""

    outcome: str
    code: str = ""
    fact: int = 0
    replayed: bool = False
    before: int | None = None
    after: int | None = None


class Entry(NamedTuple):
    """A movement of money; `amount` has its sign."""

    currency: str
    amount: int
    before: int
    after: int
    cause: str
    reference: str


class Naming(NamedTuple):
    """How upstream has named somebody whom nobody else has, and when."""

    when: str
    said: dict[str, Any]


@dataclass
class Keyless:
    """A request without a key, which the SDK may send once more."""

    content: str
    tries: int
    minute: float
    said: Said


@dataclass
class Deal:
    """A payment with its refunds and disputes: the newest of each, and what has followed for the wallet.

    `asked`: refunds as upstream was asked for them.
    `done`: what each rule counts as done, + given, - taken, with what it could not take, which is in `lacking` too.
    """

    payment: dict[str, Any] | None = None
    refunds: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)
    disputes: dict[str, dict[str, Any]] = field(default_factory=dict)
    done: Counter[Rule] = field(default_factory=Counter)
    lacking: Counter[Rule] = field(default_factory=Counter)
    from_wallet: Counter[str] = field(default_factory=Counter)


@dataclass
class Invoice:
    """`open`: what the wallet has paid of it and no failed payment has given back, each with its moment."""

    currency: str = ""
    open: list[tuple[str, int]] = field(default_factory=list)


@dataclass
class Plan:
    """A subscription, and the last change that somebody asked for."""

    status: str = ""
    request: str = ""
    asked: dict[str, Any] = field(default_factory=dict)
    is_open: bool = False


@dataclass
class Account:
    """One customer as the world sees him."""

    profile: dict[str, Any] | None = None
    named: Naming | None = None
    blocked: bool = False
    closed: bool = False
    erased: bool = False
    balances: dict[str, int] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    facts: Counter[str] = field(default_factory=Counter)
    keys: dict[str, tuple[str, Said]] = field(default_factory=dict)
    keyless: list[Keyless] = field(default_factory=list)
    heard: dict[tuple[str, str, str], tuple[str, str]] = field(default_factory=dict)
    deals: dict[str, Deal] = field(default_factory=dict)
    invoices: dict[str, Invoice] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)

    def record(self, stream: str = "customer") -> int:
        """One more fact; which of its stream it is."""
        self.facts[stream] += 1
        return self.facts[stream]

    def move(self, currency: str, change: int, cause: str, reference: str) -> None:
        """Whoever calls knows that it may be."""
        before = self.balances.get(currency, 0)
        self.balances[currency] = before + change
        self.entries.append(Entry(currency, change, before, before + change, cause, reference))
