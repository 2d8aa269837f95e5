"""The running service under callers who mean no good. The long form is `make prove ARGS="abuse"`."""

from typing import Any

import httpx
import pytest

from services.api import __main__ as api
from services.api.app import create_app
from services.api.documents.operations import OPERATIONS
from services.api.queries.reader import Reader
from services.api.queries.wall import Statement
from tests.proof import abuse, service
from tests.proof.matrix import Ids, keyed, names_somebody, request

pytestmark = pytest.mark.timeout(600)  # the machine may have to start first


def test_every_operation_is_in_the_matrix() -> None:
    ids = Ids(*Ids._fields)
    for operation in keyed():
        request(operation, ids)
    assert sum(map(names_somebody, keyed())) >= 16


def test_what_is_not_yours_is_what_does_not_exist(machine: type[service.ServiceMachine]) -> None:
    matrix = abuse.try_all(machine.service)
    assert not matrix.broken, matrix.broken
    assert matrix.cells > 8 * len(keyed())


async def test_what_is_not_yours_takes_the_statements_of_what_does_not_exist(
    machine: type[service.ServiceMachine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An api of the test's own over the same databases: what it asks them is heard."""
    once, heard = Reader._once, list[bytes]()

    async def hearing(self: Reader, statement: Statement, values: dict[str, Any]) -> list[Any]:
        if b"api_keys" not in statement.query:  # looked up again every few seconds
            heard.append(statement.query)
        return await once(self, statement, values)

    keys, mine, absent = abuse.cast(machine.service)
    monkeypatch.setattr(Reader, "_once", hearing)
    asked = 0
    async with api._connected(machine.service.system.settings) as parts:
        transport = httpx.ASGITransport(app=create_app(parts))  # type: ignore[arg-type]
        async with httpx.AsyncClient(
            transport=transport, base_url="http://api.test", headers=keys.other
        ) as client:
            for operation in filter(names_somebody, keyed()):
                heard.clear()
                await client.request(**request(operation, mine))
                theirs = list(heard)
                heard.clear()
                await client.request(**request(operation, absent))
                assert theirs == heard, operation.identifier
                asked += len(theirs)
    assert asked >= 20


def test_generated_requests_meet_what_the_document_says(
    machine: type[service.ServiceMachine], seed: int
) -> None:
    fuzzed = abuse.hammer(machine.service, seed, abuse.CASES_SHORT, abuse.PHASES_SHORT)
    print(fuzzed.line)
    assert not fuzzed.broken, "\n".join(fuzzed.broken)
    assert fuzzed.operations == len(OPERATIONS)
