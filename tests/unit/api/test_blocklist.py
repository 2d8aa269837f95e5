"""Whoever searches the blocklist keeps nobody waiting who reads by key: keys of the API are looked up there."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from services.api.ports import BlocklistFilter, Page
from services.api.queries.blocklist import PostgresBlocklist
from services.api.queries.reader import Reader
from services.api.queries.wall import Statement
from tests.unit.api.fakes import TENANT


class Silent(Reader):
    """Finds nothing, and counts."""

    def __init__(self) -> None:
        self.asked = 0

    async def run(self, statement: Statement, values: Mapping[str, Any]) -> list[Any]:
        self.asked += 1
        return []


@pytest.mark.parametrize(
    ("where", "searched"),
    [
        (BlocklistFilter(), 0),
        (BlocklistFilter(identifier="x"), 1),
        (BlocklistFilter(created_at_gte=datetime(2026, 1, 1, tzinfo=UTC)), 1),
    ],
)
async def test_a_search_of_the_blocklist_runs_where_searches_run(
    where: BlocklistFilter, searched: int
) -> None:
    keyed, searching = Silent(), Silent()
    blocklist = PostgresBlocklist(keyed, searching)
    await blocklist.entries(TENANT, Page(10, 0), where)
    assert (keyed.asked, searching.asked) == (1 - searched, searched)
    await blocklist.entry(TENANT, "blk_1")
    await blocklist.addressed(TENANT, "ana@example.com")
    assert searching.asked == searched
