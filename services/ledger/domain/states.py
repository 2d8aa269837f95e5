"""The states of all aggregates, and which facts concern which."""

from collections.abc import Mapping

from events.facts import AnyFact, ForeignFact
from events.requested import InvoiceFact
from services.ledger.domain.customer import INITIAL, Customer, evolve
from services.ledger.domain.foreign import NOTHING_SAID, Foreign, evolve_foreign
from services.ledger.domain.invoice import NEVER_SETTLED, Invoice, evolve_invoice

State = Customer | Foreign | Invoice


def initial(category: str) -> State:
    """Of a stream that has no event."""
    match category:
        case "customer":
            return INITIAL
        case "invoice":
            return NEVER_SETTLED
        case _:
            return NOTHING_SAID


def evolve_any(state: State, fact: AnyFact, recorded: str, effective: str) -> State:
    """Total. A fact of another aggregate than the state's is a defect. Both times are the event's."""
    if isinstance(fact, ForeignFact):
        assert isinstance(state, Foreign)
        return evolve_foreign(state, fact)
    if isinstance(fact, InvoiceFact):
        assert isinstance(state, Invoice)
        return evolve_invoice(state, fact, effective)
    assert isinstance(state, Customer)
    return evolve(state, fact, recorded)


def foreign_of(about: Mapping[str, State], category: str) -> Foreign:
    """Of what upstream names."""
    state = about[category]
    assert isinstance(state, Foreign)
    return state
