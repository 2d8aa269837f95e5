"""Every topic, once: its name, key, retention and who may write it."""

from typing import NamedTuple

_DAY_MS = 24 * 60 * 60 * 1000


class Topic(NamedTuple):
    """`retention_ms` -1: for ever. `sharded`: one partition per shard, key = customer id."""

    name: str
    sharded: bool
    retention_ms: int
    written_by: str
    read_by: str


COMMANDS = Topic("ledger.commands", True, 7 * _DAY_MS, "api, intake, producers named in the ACL", "ledger")
EVENTS = Topic(
    "ledger.events", True, -1, "ledger (relay)", "projections, intake, ledger, auditors, dashboards"
)
REPLIES = Topic("ledger.replies", False, 10 * 60 * 1000, "ledger", "api and intake: the process that asked")
DEAD_LETTERS = Topic("ledger.dead-letters", False, 30 * _DAY_MS, "ledger, intake", "operators")
PAYMENTS = Topic("payments.events", False, 30 * _DAY_MS, "upstream services, api (webhooks)", "intake")
REQUESTS = Topic("payments.requests", True, 30 * _DAY_MS, "intake", "upstream services")

TOPICS = (COMMANDS, EVENTS, REPLIES, PAYMENTS, REQUESTS, DEAD_LETTERS)

REPLIES_PARTITIONS = 8
PAYMENTS_PARTITIONS = 8
DEAD_LETTERS_PARTITIONS = 1

_PARTITIONS = {
    REPLIES: REPLIES_PARTITIONS,
    PAYMENTS: PAYMENTS_PARTITIONS,
    DEAD_LETTERS: DEAD_LETTERS_PARTITIONS,
}


def partitions(topic: Topic, shards: int) -> int:
    """How many partitions a topic has for ever."""
    return shards if topic.sharded else _PARTITIONS[topic]
