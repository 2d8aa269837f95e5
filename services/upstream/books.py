"""The business's own books: what its customers' wallets must hold by its own account, written as things happen.

Kept step by step while the business lives, so that it is a second computation beside the ledger's rules, which look
only at what is known in the end.
"""

from collections import Counter

from services.upstream.things import Thing

Purse = tuple[str, str]
"""Customer and currency."""


class Books:
    """Whole minor units; every currency, whether a wallet is open in it or not."""

    def __init__(self) -> None:
        self.wallets: Counter[Purse] = Counter()
        self.things: dict[str, Thing] = {}
        self._given: Counter[str] = Counter()
        self._held: Counter[str] = Counter()

    def write_down(self, thing: Thing) -> None:
        """The thing as it is now."""
        self.things[thing.name] = thing

    def topped_up(self, payment: Thing, amount: int) -> None:
        self._move(payment, payment, amount)

    def back_to_card(self, payment: Thing, amount: int) -> None:
        """What a top-up had given goes back by the card, so it leaves the wallet."""
        self._move(payment, payment, -min(amount, self._given[payment.name]))

    def refunded_to_wallet(self, payment: Thing, refund: Thing, amount: int) -> None:
        """Negative: the refund bounced."""
        self._move(payment, refund, amount)

    def disputed(self, payment: Thing, dispute: Thing, amount: int) -> None:
        """Only what the top-up has given can be held."""
        held = min(amount, self._given[payment.name])
        self._held[dispute.name] = held
        self._move(payment, payment, -held)

    def released(self, payment: Thing, dispute: Thing) -> None:
        """The dispute is won."""
        self._move(payment, payment, self._held.pop(dispute.name, 0))

    def _move(self, payment: Thing, of: Thing, amount: int) -> None:
        self.wallets[(payment.buyer.customer_id, payment.data["currency"])] += amount
        self._given[of.name] += amount
