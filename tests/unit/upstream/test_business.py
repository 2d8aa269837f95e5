"""The played business: the same at every run, with everything that a first look should show, in forms that the SDK takes."""

import json
import unicodedata
from collections import Counter
from functools import cache

import pytest
from dodopayments.types import UnsafeUnwrapWebhookEvent
from msgspec import convert, to_builtins
from pydantic import TypeAdapter

from events.requests import SettleInvoice
from services.intake.understanding import TYPES
from services.upstream.business import Business
from services.upstream.people import people
from services.upstream.trade import DAY, HOUR
from services.upstream.world import CLEAN, Asked, Delivery, Letter, Trouble, World

START = 1_790_000_000_000_000


@cache
def played(days: int = 28, trouble: Trouble = CLEAN, seed: int = 1) -> tuple[list[Letter], World]:
    business = Business(seed, "bus_dev", "test", START, 240, trouble)
    return list(business.world.play(START + days * DAY)), business.world


def test_what_is_late_still_comes_when_life_stops() -> None:
    business = Business(1, "bus_dev", "test", START, 240, Trouble())
    told = deliveries([*business.world.play(START + 5 * DAY), *business.world.drain()])
    news = {(one.kind, one.name, one.told) for one in told if one.kind in TYPES}
    assert news == {(one.kind, one.name, one.told) for one in deliveries(played(5)[0])}
    assert len(told) > len(deliveries(played(5, Trouble())[0]))


def deliveries(letters: list[Letter]) -> list[Delivery]:
    return [one for one in letters if isinstance(one, Delivery)]


def test_every_run_tells_the_same_and_every_seed_something_else() -> None:
    again = Business(1, "bus_dev", "test", START, 240, Trouble())
    assert list(again.world.play(START + 5 * DAY)) == played(5, Trouble())[0]
    assert played(5, Trouble(), seed=2)[0] != played(5, Trouble())[0]


def test_time_may_be_moved_in_steps() -> None:
    steps = Business(1, "bus_dev", "test", START, 240, Trouble())
    told = [one for at in range(24 * 5) for one in steps.world.play(START + (at + 1) * HOUR)]
    assert told == played(5, Trouble())[0]


def test_how_news_travels_does_not_change_the_life() -> None:
    assert played(5, Trouble())[1].books.wallets == played(5)[1].books.wallets
    assert played(5, Trouble())[1].books.things == played(5)[1].books.things


def test_the_sdk_takes_every_payload_strictly() -> None:
    events: TypeAdapter[object] = TypeAdapter(UnsafeUnwrapWebhookEvent)
    kinds = Counter(one.kind for one in deliveries(played(28)[0]))
    checked: Counter[str] = Counter()
    for one in deliveries(played(28)[0]):
        if checked[one.kind] < 60:
            events.validate_json(one.value, strict=True)
            checked[one.kind] += 1
    assert checked.keys() == kinds.keys() <= TYPES
    with pytest.raises(ValueError, match="tax"):
        events.validate_json(payment_with(tax="100"), strict=True)


def payment_with(**more: object) -> bytes:
    whole = json.loads(next(one.value for one in deliveries(played()[0]) if one.kind == "payment.succeeded"))
    return json.dumps({**whole, "data": {**whole["data"], **more}}).encode()


def test_there_is_enough_to_look_at() -> None:
    letters, world = played()
    kinds = {one.kind for one in deliveries(letters)}
    assert len({one.customer_id for one in letters if isinstance(one, Asked)}) >= 280
    assert kinds >= {
        "payment.succeeded", "payment.failed", "payment.cancelled", "payment.processing", "refund.succeeded",
        "refund.failed", "dispute.opened", "dispute.won", "dispute.lost", "dispute.challenged",
        "subscription.active", "subscription.renewed", "subscription.on_hold", "subscription.cancelled",
        "subscription.plan_changed", "subscription.failed", "subscription.updated", "subscription.paused",
        "subscription.unpaused", "subscription.update_payment_method", "license_key.created",
    }  # fmt: skip
    currencies = Counter(
        thing.data["currency"] for thing in world.books.things.values() if "currency" in thing.data
    )
    assert set(currencies) == {"USD", "INR", "EUR", "JPY"}
    actions = Counter(
        thing.data["metadata"].get("wallet_action", "")
        for thing in world.books.things.values()
        if "metadata" in thing.data
    )
    assert min(actions["top_up"], actions["refund_to_wallet"], actions[""]) > 10


def test_nulls_are_as_in_production() -> None:
    """https://github.com/theexperiencecompany/gaia/issues/1084: a payment that never settled knows no tax."""
    for one in deliveries(played()[0]):
        if one.kind in ("payment.processing", "payment.failed", "payment.cancelled"):
            data = json.loads(one.value)["data"]
            assert (data["tax"], data["payment_method"], data["settlement_tax"]) == (None, None, None)


def test_news_comes_twice_late_and_with_what_is_not_known() -> None:
    clean, troubled = deliveries(played()[0]), deliveries(played(28, Trouble())[0])
    news = Counter((one.kind, one.name, one.told) for one in troubled if one.kind in TYPES)
    twice = sum(count - 1 for count in news.values())
    late = sum(one.at > one.told for one in troubled if one.kind in TYPES) - twice
    unknown = sum(one.kind not in TYPES for one in troubled)
    assert 0.08 < twice / len(clean) < 0.12
    assert 0.08 < late / len(clean) < 0.16, "some are kept back for a dispute to overtake them"
    assert 0.005 < unknown / len(clean) < 0.02
    assert max(one.at - one.told for one in troubled) <= HOUR + 5 * 60 * 1_000_000
    order = [one.told for one in troubled]
    assert order != sorted(order)
    assert [one.at for one in troubled] == sorted(one.at for one in troubled)


def test_a_late_delivery_shows_the_newest_state() -> None:
    late = [one for one in deliveries(played(28, Trouble())[0]) if one.kind == "payment.processing"]
    statuses = Counter(json.loads(one.value)["data"]["status"] for one in late)
    assert statuses["processing"] > statuses["succeeded"] > 0


def test_some_disputes_come_before_their_payment() -> None:
    seen: set[str] = set()
    early = 0
    for one in deliveries(played(28, Trouble())[0]):
        if one.kind.startswith("payment."):
            seen.add(one.name)
        elif one.kind == "dispute.opened":
            early += json.loads(one.value)["data"]["payment_id"] not in seen
    assert early > 10


def test_names_are_of_the_whole_world() -> None:
    letters = "".join(person.name for person in people())
    scripts = {unicodedata.name(letter).split()[0] for letter in letters if letter.isalpha()}
    assert scripts >= {"LATIN", "ARABIC", "CJK", "DEVANAGARI", "HIRAGANA", "HANGUL", "CYRILLIC", "HEBREW"}
    assert any(unicodedata.category(letter) == "So" for letter in letters), "emoji"
    assert sum(person.name.startswith("Nguyễn ") for person in people()) > 3


def test_nobody_is_real() -> None:
    for person in people():
        assert person.email.endswith("@example.com")
        assert person.phone_number is None or person.phone_number.startswith("+120255501")
    assert len({person.email for person in people()}) == len(people())


def test_what_the_shop_asks_is_what_the_ledger_takes() -> None:
    """Within all limits of the published language, each key once."""
    asked = [one for one in played()[0] if isinstance(one, Asked)]
    for one in asked:
        convert(to_builtins(one.ask), type(one.ask))
    assert len({one.key for one in asked}) == len(asked) > 3_000


def test_what_the_wallet_has_not_of_an_invoice_is_charged_once() -> None:
    business = Business(1, "bus_dev", "test", START, 240)
    letters = list(business.world.play(START + 3 * DAY))
    first, second = [
        one.ask for one in letters if isinstance(one, Asked) and isinstance(one.ask, SettleInvoice)
    ][:2]
    for _ in range(2):
        business.settled(first, first.amount - 100)
    business.settled(second, second.amount)
    told = deliveries(list(business.world.play(START + 4 * DAY)))
    charged = [json.loads(one.value)["data"] for one in told]
    rest = [
        one for one in charged if one.get("invoice_id") == first.invoice_id and one["status"] != "processing"
    ]
    assert len(rest) == 1
    assert 100 <= rest[0]["total_amount"] < 120
    assert not [one for one in charged if one.get("invoice_id") == second.invoice_id]
