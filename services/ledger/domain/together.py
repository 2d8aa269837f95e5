"""Entries of one customer that are asked for all or none. Pure."""

from collections.abc import Sequence

from msgspec.structs import replace

from events.commands import CreditWallet, DebitWallet
from events.facts import CustomerCommandRefused, CustomerFact, Refusal, WalletDebitRefused
from services.ledger.domain.customer import Customer, decide, evolve, refused, refused_debit
from services.ledger.domain.given import Given

Move = CreditWallet | DebitWallet


def decide_together(
    moves: Sequence[Move], customer: Customer, givens: Sequence[Given], ids: Sequence[str]
) -> list[CustomerFact]:
    """One fact for each, decided one after the other; where one is refused, so are all. `ids`: their commands."""
    facts: list[CustomerFact] = []
    ahead = customer
    for move, given, command_id in zip(moves, givens, ids, strict=True):
        [fact] = decide(move, ahead, given)
        if isinstance(fact, CustomerCommandRefused | WalletDebitRefused):
            others = refuse_together(moves, customer, command_id)
            others[len(facts)] = replace(fact, because_of=command_id)
            return others
        facts.append(fact)
        ahead = evolve(ahead, fact, customer.registered)
    return facts


def refuse_together(moves: Sequence[Move], customer: Customer, because_of: str) -> list[CustomerFact]:
    """What follows for all of these when another entry was refused: the command `because_of`."""
    return [_refused(move, customer, because_of) for move in moves]


def _refused(move: Move, customer: Customer, because_of: str) -> CustomerFact:
    if isinstance(move, DebitWallet):
        fact = refused_debit(move, customer, Refusal.ANOTHER_ENTRY_FAILED)
        return replace(fact, because_of=because_of)
    return replace(refused(move, Refusal.ANOTHER_ENTRY_FAILED), because_of=because_of)
