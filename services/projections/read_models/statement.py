"""What a projection asks of the database: one statement for all of a batch's rows."""

from collections.abc import Sequence
from typing import LiteralString, NamedTuple

import msgspec

_encoder = msgspec.json.Encoder()


class Statement(NamedTuple):
    """`query` has one parameter: the rows as a JSON array of objects.

    One JSON text instead of an array for each column: msgspec writes a row in a microsecond, and PostgreSQL, on
    another core, takes it apart. psycopg's own arrays cost this process ten times as much.
    """

    query: LiteralString
    rows: str


def statement(query: LiteralString, rows: Sequence[msgspec.Struct]) -> Statement:
    """Absent (UNSET) fields become NULL."""
    return Statement(query, _encoder.encode(rows).decode())
