"""Names are derived, so they must never change: the values here are pinned."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import ids
from events.sharding import murmur2, shard_of

TENANT = ids.Tenant("bus_dev", "test")

# org.apache.kafka.common.utils.UtilsTest.testMurmur2
KAFKA_VECTORS = [
    (b"21", -973932308),
    (b"foobar", -790332482),
    (b"a-little-bit-long-string", -985981536),
    (b"a-little-bit-longer-string", -1486304829),
    (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    (b"abc", 479470107),
]


@pytest.mark.parametrize(("data", "signed"), KAFKA_VECTORS)
def test_murmur2_is_that_of_kafka(data: bytes, signed: int) -> None:
    assert murmur2(data) == signed % 2**32


@pytest.mark.parametrize(("data", "signed"), KAFKA_VECTORS[:3])
def test_a_customer_lives_where_the_partitioner_of_kafka_would_put_him(data: bytes, signed: int) -> None:
    assert shard_of(data.decode(), 32) == (signed & 0x7FFFFFFF) % 32


@given(st.text(max_size=30), st.integers(1, 1024))
def test_a_shard_is_one_of_them(customer_id: str, shards: int) -> None:
    assert 0 <= shard_of(customer_id, shards) < shards


def test_derived_names_are_what_they_were() -> None:
    assert ids.customer_id_from_key(TENANT, "sample/customer/1") == "cus_dMwWWX5eAbMFcDyH8dstz"
    assert ids.entry_id(b"\x01" * 32) == "wle_aOcknqmz8ee6rlLJEYdtx"
    assert (
        str(ids.stream_id(TENANT, ids.stream_name("customer", "cus_1")))
        == "ce436018-7602-5ada-9291-23cfb9384778"
    )


def test_no_tenant_can_name_a_stream_of_another() -> None:
    name = ids.stream_name("customer", "cus_1")
    tenants = [TENANT, ids.Tenant("bus_dev", "live"), ids.Tenant("bus_other", "test")]
    assert len({ids.stream_id(tenant, name) for tenant in tenants}) == 3
    assert len({ids.customer_id_from_key(tenant, "k") for tenant in tenants}) == 3


@given(st.text(max_size=20))
def test_derived_names_have_one_form(material: str) -> None:
    name = ids.derived("cus_", material)
    assert len(name) == 25
    assert name.startswith("cus_")
    assert name[4:].isalnum()
    assert name.isascii()


@given(st.integers(0, 9999), st.integers(0, 10**19 - 1))
def test_a_position_survives_its_text(shard: int, sequence: int) -> None:
    assert ids.parse_position(ids.position(shard, sequence)) == (shard, sequence)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "1",
        "1:",
        ":1",
        "-1:1",
        "1:-1",
        " 1:1",
        "1:1 ",
        "1:1:1",
        "٣:1",
        "1:²",
        "12345:1",
        f"1:{10**19}",
    ],
)
def test_what_is_no_position(text: str) -> None:
    with pytest.raises(ValueError, match="position"):
        ids.parse_position(text)
