"""What happened, for people and for machines."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from services.console.tail import amount

ENTRIES_SHOWN = 12


@dataclass
class Report:
    """Counted from answers, read back through the API; nothing here is what was merely asked for."""

    customers: int = 0
    entries: int = 0
    refusals: int = 0
    blocked: int = 0
    replayed: int = 0
    seconds: float = 0.0
    balances: dict[str, int] = field(default_factory=dict)
    customer: dict[str, Any] = field(default_factory=dict)
    last_entries: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> str:
        """One object on one line."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def show(self, console: Console) -> None:
        """The sums, then the last entries of one customer."""
        console.print(
            f"\n[bold]{self.customers}[/bold] customers, [bold]{self.entries:,}[/bold] entries and "
            f"[bold]{self.refusals}[/bold] refused debits in {self.seconds:.1f} s. "
            f"[bold]{self.blocked}[/bold] customers are blocked."
        )
        if self.replayed:
            console.print("This business had been fed before: nothing was booked twice.")
        totals = ", ".join(f"[bold]{amount(minor, code)}[/bold]" for code, minor in self.balances.items())
        console.print(f"All wallets together hold {totals}.\n")
        console.print(self._table())

    def _table(self) -> Table:
        title = f"Last entries of {self.customer.get('name')} ({self.customer.get('customer_id')})"
        table = Table(title=title, title_justify="left")
        for heading in ("when", "what", "reason or reference"):
            table.add_column(heading)
        for heading in ("before", "amount", "after"):
            table.add_column(heading, justify="right", no_wrap=True)
        for entry in self.last_entries:
            sign, color = ("+", "green") if entry["is_credit"] else ("-", "red")
            currency = entry["currency"]
            table.add_row(
                entry["created_at"][:19].replace("T", " "),
                entry["event_type"],
                entry.get("reason") or entry.get("reference_object_id") or "",
                amount(entry["before_balance"], currency),
                f"[{color}]{sign}{amount(entry['amount'], currency)}[/{color}]",
                amount(entry["after_balance"], currency),
            )
        return table
