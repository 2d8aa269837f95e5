"""What a run of mutants is told, and what it tells."""

import msgspec


class Plan(msgspec.Struct):
    """`outcomes` by mutant: written by the session that runs them."""

    mutants: list[str]
    children: int
    outcomes: dict[str, str] = {}
