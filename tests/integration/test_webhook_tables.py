"""Endpoints and deliveries in the database, and Kafka's word that it has a record."""

import hashlib
import secrets
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from standardwebhooks import Webhook

from events.ids import Tenant
from events.sealing import new_key
from services.api.keys import KeyRefused
from services.api.queries.keyed import PostgresQueries
from services.api.webhooks import publisher as webhook_publisher
from services.api.webhooks.door import NotPublished, SecretUnreadable
from services.api.webhooks.endpoints import create_endpoint, list_endpoints, revoke_endpoint, rotate_endpoint
from services.api.webhooks.publisher import KafkaPublisher
from services.api.webhooks.tables import PostgresDeliveries, PostgresEndpoints
from services.migrate import migrate_database
from services.settings import Settings

SHARDS = 4
KEY = new_key()
MOMENT = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def dsn(database: Callable[[str], str]) -> str:
    made = database("webhooks")
    migrate_database("views", made, SHARDS)
    return made


@pytest.fixture
async def queries(dsn: str) -> AsyncIterator[PostgresQueries]:
    made = PostgresQueries(dsn, SHARDS)
    await made.open()
    yield made
    await made.close()


def same(webhook: Webhook | None, secret: str) -> bool:
    return webhook is not None and webhook.sign("a", MOMENT, "b") == Webhook(secret).sign("a", MOMENT, "b")


async def test_an_endpoint_from_its_making_to_its_end(dsn: str, queries: PostgresQueries) -> None:
    endpoints = PostgresEndpoints(queries.run, KEY)
    made, secret = create_endpoint(dsn, KEY, "bus_1", "live", "shop")
    opening = await endpoints.opening(made.endpoint_id)
    assert opening is not None
    assert opening.tenant == Tenant("bus_1", "live")
    assert same(opening.secret, secret)
    assert opening.old is None
    rotated, second = rotate_endpoint(dsn, KEY, made.endpoint_id)
    assert rotated.old_secret_until is not None
    assert rotated.old_secret_until - datetime.now(UTC) > timedelta(hours=23.9)
    opening = await endpoints.opening(made.endpoint_id)
    assert opening is not None
    assert same(opening.secret, second)
    assert same(opening.old, secret)
    assert opening.old_until == rotated.old_secret_until.timestamp()
    with pytest.raises(KeyRefused, match="two secrets are live"):
        rotate_endpoint(dsn, KEY, made.endpoint_id)
    third = rotate_endpoint(dsn, KEY, made.endpoint_id, timedelta(0))[1]
    opening = await endpoints.opening(made.endpoint_id)
    assert opening is not None
    assert same(opening.secret, third)
    assert opening.old_until <= datetime.now(UTC).timestamp()
    assert revoke_endpoint(dsn, made.endpoint_id).revoked_at is not None
    assert await endpoints.opening(made.endpoint_id) is None
    with pytest.raises(KeyRefused, match="no such live endpoint"):
        rotate_endpoint(dsn, KEY, made.endpoint_id)
    assert [one.endpoint_id for one in list_endpoints(dsn, "bus_1")] == [made.endpoint_id]
    assert list_endpoints(dsn, "bus_2") == []


async def test_a_secret_lies_there_encrypted_and_bound_to_its_tenant(
    dsn: str, queries: PostgresQueries
) -> None:
    made, secret = create_endpoint(dsn, KEY, "bus_1", "test", "shop")
    with psycopg.connect(dsn, autocommit=True) as connection:
        [(stored,)] = connection.execute("SELECT secret FROM webhook_endpoints").fetchall()
        assert Webhook(secret)._whsecret not in stored
        for key in (new_key(), None):
            with pytest.raises(SecretUnreadable):
                await PostgresEndpoints(queries.run, key).opening(made.endpoint_id)
        connection.execute("UPDATE webhook_endpoints SET business_id = 'bus_2'")
    with pytest.raises(SecretUnreadable):
        await PostgresEndpoints(queries.run, KEY).opening(made.endpoint_id)


def test_what_is_no_endpoint_is_refused(dsn: str) -> None:
    for arguments in (("bus 1", "live", "n"), ("bus_1", "prod", "n"), ("bus_1", "live", "")):
        with pytest.raises(KeyRefused):
            create_endpoint(dsn, KEY, *arguments)
    with pytest.raises(KeyRefused):
        revoke_endpoint(dsn, "whk_1")


async def test_deliveries_are_remembered_for_days_and_then_forgotten(
    dsn: str, queries: PostgresQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliveries = PostgresDeliveries(queries.run)
    first, second = (hashlib.sha256(name).digest() for name in (b"1", b"2"))
    assert not await deliveries.taken("whk_1", first)
    for _ in range(2):
        await deliveries.note("whk_1", first)
    assert await deliveries.taken("whk_1", first)
    assert not await deliveries.taken("whk_2", first)
    assert not await deliveries.taken("whk_1", second)

    def count() -> int:
        with psycopg.connect(dsn, autocommit=True) as connection:
            return connection.execute("SELECT count(*) FROM webhook_deliveries").fetchone()[0]  # type: ignore[index,no-any-return]

    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO webhook_deliveries SELECT 'whk_old', sha256(n::text::bytea), now() - interval '4 days' "
            "FROM generate_series(1, 25) n"
        )
    for noted in range(3):
        await deliveries.note("whk_1", hashlib.sha256(bytes([noted])).digest())
    assert count() == 1 + 3


@pytest.fixture
async def topic(kafka: str) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    name = f"webhooks-{secrets.token_hex(4)}"
    await admin.create_topics([NewTopic(name, 1, 1)])
    await admin.close()
    return name


async def test_what_is_published_is_there(kafka: str, topic: str) -> None:
    publisher = KafkaPublisher(Settings(kafka_bootstrap=kafka), topic)
    await publisher.start()
    await publisher.publish(b"k", b"v")
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka)
    await consumer.start()
    place = TopicPartition(topic, 0)
    assert (await consumer.end_offsets([place]))[place] == 1
    await consumer.stop()
    await publisher.stop()


async def test_only_so_many_wait_for_kafka(kafka: str, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_publisher, "IN_FLIGHT_MAX", 0)
    publisher = KafkaPublisher(Settings(kafka_bootstrap=kafka), topic)
    await publisher.start()
    with pytest.raises(NotPublished, match="too many"):
        await publisher.publish(b"k", b"v")
    await publisher.stop()
