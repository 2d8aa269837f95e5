"""Which shard a customer lives in: fixed for ever, it is in sequences, chains and identifiers."""

from functools import lru_cache

_M = 0x5BD1E995
_R = 24
_SEED = 0x9747B28C
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Unsigned 32-bit murmur2 as in Kafka itself (org.apache.kafka.common.utils.Utils)."""
    length = len(data)
    h = (_SEED ^ length) & _MASK
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little")
        k = (k * _M) & _MASK
        k ^= k >> _R
        k = (k * _M) & _MASK
        h = ((h * _M) & _MASK) ^ k
    tail = data[whole:]
    if tail:
        h ^= int.from_bytes(tail, "little")
        h = (h * _M) & _MASK
    h ^= h >> 13
    h = (h * _M) & _MASK
    return h ^ (h >> 15)


@lru_cache(maxsize=65_536)
def shard_of(customer_id: str, shards: int) -> int:
    """The partition of a customer in every keyed topic; passed explicitly, never left to a client."""
    return (murmur2(customer_id.encode()) & 0x7FFFFFFF) % shards
