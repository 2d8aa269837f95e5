"""The states of all aggregates, and which facts concern which."""

from events.facts import AnyFact, ForeignFact
from services.ledger.domain.customer import Customer, evolve
from services.ledger.domain.foreign import Foreign, evolve_foreign

State = Customer | Foreign


def evolve_any(state: State, fact: AnyFact, recorded: str) -> State:
    """Total. A fact of another aggregate than the state's is a defect."""
    if isinstance(fact, ForeignFact):
        assert isinstance(state, Foreign)
        return evolve_foreign(state, fact)
    assert isinstance(state, Customer)
    return evolve(state, fact, recorded)
