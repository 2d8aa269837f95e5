"""What was played, for people and for machines."""

import json
from collections import Counter
from dataclasses import dataclass, field

from rich.console import Console

from events.replies import Outcome, Reply
from services.upstream.world import Delivery


@dataclass
class Report:
    """Counted as it goes out and as it is answered."""

    days: int = 0
    seconds: int = 0
    customers: int = 0
    deliveries: int = 0
    repeats: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    commands: int = 0
    applied: int = 0
    refused: int = 0
    replayed: int = 0
    other: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._seen: set[tuple[str, str, int]] = set()

    def delivered(self, one: Delivery) -> None:
        news = (one.kind, one.name, one.told)
        self.deliveries += 1
        self.repeats += news in self._seen
        self._seen.add(news)
        self.kinds[one.kind] += 1

    def forget(self) -> None:
        """What may still be repeated: another life begins."""
        self._seen.clear()

    def heard(self, reply: Reply) -> None:
        """An outcome; a repeat has the outcome of the first."""
        self.commands += 1
        self.applied += reply.outcome is Outcome.APPLIED and not reply.replayed
        self.refused += reply.outcome is Outcome.REFUSED and not reply.replayed
        self.replayed += reply.replayed and reply.outcome in (Outcome.APPLIED, Outcome.REFUSED)
        if reply.outcome not in (Outcome.APPLIED, Outcome.REFUSED):
            self.other[reply.code or reply.outcome.value] += 1

    def as_json(self) -> str:
        """One object on one line."""
        shown = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return json.dumps(shown, ensure_ascii=False)

    def show(self, console: Console) -> None:
        """A few lines."""
        families = Counter[str]()
        for kind, count in self.kinds.items():
            families[kind.partition(".")[0]] += count
        told = ", ".join(f"{count:,} {family}" for family, count in families.most_common(6))
        console.print(
            f"\n[bold]{self.days}[/bold] days of a business with [bold]{self.customers}[/bold] customers in "
            f"{self.seconds} s: [bold]{self.deliveries:,}[/bold] events on payments.events ({told}), "
            f"[bold]{self.repeats:,}[/bold] of them repeats."
        )
        console.print(
            f"Its shop sent [bold]{self.commands:,}[/bold] commands: [bold]{self.applied:,}[/bold] applied, "
            f"[bold]{self.refused:,}[/bold] refused, [bold]{self.replayed:,}[/bold] were repeats and got the answer "
            f"of the first{self._others()}."
        )

    def _others(self) -> str:
        return "".join(f", {count:,} {outcome}" for outcome, count in self.other.most_common())
