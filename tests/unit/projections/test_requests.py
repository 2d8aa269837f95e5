"""What upstream was asked, and what it answered: of each customer by itself."""

from msgspec.structs import replace

from events.recorded import PaymentRecorded
from services.projections.read_models import requests
from tests import upstream
from tests.factories import EventFactory
from tests.unit.projections.reading import events_of


def test_two_customers_whose_payments_name_one_request_are_both_answered() -> None:
    factory = EventFactory(shards=1)
    for customer in ("cus_1", "cus_2"):
        factory.registered(customer)
        news = upstream.payment(1, f"pay_{customer}")
        assert isinstance(news.fact, PaymentRecorded)
        factory.told(
            customer,
            *news._replace(fact=replace(news.fact, payment=replace(news.fact.payment, request_id="top_1"))),
        )
    [answers] = requests.project(events_of(factory))
    assert answers.query == requests.UPDATE
    text = str(answers)
    assert [text.count(name) for name in ("pay_cus_1", "pay_cus_2", "top_1")] == [1, 1, 2]
