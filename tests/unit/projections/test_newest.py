"""Of an object the newest that was told counts, and no object that upstream thinks of stops a shard or a reader."""

from typing import Any

import pytest
from msgspec import json
from msgspec.structs import replace

from events.foreign import Told
from services.nesting import NESTED_MAX
from services.projections.read_models import disputes, licence_keys, payments, refunds, subscriptions, told
from services.projections.read_models.newest import nested
from tests import upstream
from tests.factories import EventFactory
from tests.unit.projections.reading import events_of


def rows(*news: upstream.News, erased: bool = False) -> list[payments.Payment]:
    factory = EventFactory()
    factory.registered("cus_1")
    for one in news:
        factory.told("cus_1", *one)
    if erased:
        factory.keys.clear()
    return payments.rows(events_of(factory))


def came(object_: Any) -> Any:
    [row] = rows(upstream.payment(1, "pay_1")._replace(came=object_))
    return json.decode(row.object)


def test_of_one_batch_the_newest_counts_in_any_order() -> None:
    news = [
        upstream.payment(minute, "pay_1", status) for minute, status in ((3, "failed"), (1, "a"), (2, "b"))
    ]
    [row] = rows(*news)
    assert (row.status, row.updated_at) == ("failed", upstream.at(3))


def test_of_one_moment_the_objects_own_word_counts_and_then_the_print() -> None:
    first = upstream.payment(1, "pay_1", "a")
    later = first.fact.told
    updated = first._replace(
        fact=replace(
            first.fact, told=Told(type=later.type, time=later.time, updated=upstream.at(0)), print="0" * 16
        )
    )
    [row] = rows(updated, first)
    assert row.stamp.endswith(f"{upstream.at(0)} {'0' * 17}")


def test_what_is_no_time_says_nothing() -> None:
    [row] = rows(upstream.payment(5, "pay_1", created_at="2026-02-31T00:00:00.000000Z"))
    assert row.created_at == upstream.at(5)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a\x00b", "ab"),
        ("a\\u0000b", "a\\u0000b"),
        ("\\\x00", "\\"),
        ("\x00\x00", ""),
        ("\\\\u0000", "\\\\u0000"),
    ],
)
def test_nul_is_left_out_and_a_backslash_is_not(text: str, kept: str) -> None:
    assert came({"reason": text}) == {"reason": kept}


def test_an_object_nested_too_deep_is_not_shown_and_its_amounts_are() -> None:
    deep: Any = []
    for _ in range(NESTED_MAX):
        deep = [deep]
    assert came({"a": deep}) == {}
    flat = {"a": [{}] * 500, "b": '\\"[{' * 500}
    assert came(flat) == flat
    assert nested(json.encode({"a": [1, {"b": "]["}]})) == 3


def test_of_an_erased_customer_what_is_in_clear_is_left() -> None:
    [row] = rows(upstream.payment(1, "pay_1"), erased=True)
    assert (bytes(row.object), row.total_amount_minor) == (b"{}", 1_100)


def test_activations_are_read_permissively() -> None:
    factory = EventFactory()
    factory.registered("cus_1")
    listed = [
        {"id": "lki_1", "name": "a\x00"},
        {"id": "lki_1", "name": "b\x00", "created_at": "2026-01-01T00:00:00"}, {"id": ""}, None,
        {"id": "lki_2", "created_at": "0001-01-01T00:00:00+14:00"}, {"id": "lki_3", "created_at": "soon"},
    ]  # fmt: skip
    factory.told("cus_1", *upstream.licence_key(1, "lic_1", instances=listed))
    factory.told("cus_1", *upstream.licence_key(2, "lic_2", instances="many"))
    *_, inserted = licence_keys.project(events_of(factory))
    found = {row["instance_id"]: (row["name"], row["created_at"]) for row in json.decode(inserted.rows)}
    assert found == {"lki_1": ("b", "2026-01-01T00:00:00+00:00"), "lki_2": ("", upstream.at(0))}


def test_a_batch_has_one_statement_for_each_table_and_two_more_for_activations() -> None:
    factory = EventFactory()
    for number in range(5):
        factory.registered(f"cus_{number}")
        upstream.tell(factory, f"cus_{number}")
    events = events_of(factory)
    tables = [payments, refunds, disputes, subscriptions]
    assert [len(list(table.project(events))) for table in tables] == [1, 1, 1, 1]
    assert len(list(licence_keys.project(events))) == 3
    assert len(list(told.project(events))) == 7
    assert list(told.project([event for event in events if event.fact.CATEGORY == "customer"])) == []
