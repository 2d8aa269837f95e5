"""The topics as an AsyncAPI 3 document: who sends what, under which promises."""

import inspect

from events.commands import ASKS, BULKS
from events.facts import FACTS
from events.for_upstream import REQUESTS_BY_TYPE
from events.portable import Json
from events.topics import COMMANDS, DEAD_LETTERS, EVENTS, PAYMENTS, REPLIES, REQUESTS, TOPICS, Topic

SHARDS_DEFAULT = 32
_CLOUD_EVENT = "application/cloudevents+json"
_CUSTOMER_KEY = {"type": "string", "description": "the customer id (`subject`)"}

PROMISES = {
    COMMANDS: "What is asked of the ledger. Partition: murmur2(customer id) modulo the number of shards, "
    "passed explicitly; a command in another partition is answered with an error and dead-lettered. "
    "Whoever may produce here moves money.",
    EVENTS: "What happened, for ever and never compacted: a record's value is the stored bytes of one event. "
    "Records may repeat; de-duplicate by (source, sequence). `sequence` is gapless within `source` and "
    "`previoushash` is the SHA-256 of the bytes before, so that gaps and changes show. "
    "Personal data is in `data.sealed`, under a key of its customer.",
    REPLIES: "What became of a command, for the process that asked: partition and correlation are its "
    "`replyto`. No personal data.",
    PAYMENTS: "What upstream payment services say, in any order and as often as they like: of each object the newest "
    "counts. Any key, any partitioner.",
    REQUESTS: "What customers and merchants ask of upstream, decided here: refunds, changes of subscriptions, top-ups. "
    "Answer by ordinary events on payments.events that name `metadata.request_id`. Records may repeat: de-duplicate "
    "by `id`. In clear, what names people too.",
    DEAD_LETTERS: "Records that could not be decided, with where they were found and why; the record itself "
    "is sealed.",
}


def asyncapi(schemas: Json) -> Json:
    """The document, given the schemas of all structs by class name."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Wallet ledger",
            "version": "1.0.0",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "description": "Customer wallets as facts: CloudEvents 1.0, structured mode, one a record.",
        },
        "defaultContentType": "application/json",
        "channels": {_camel(topic): _channel(topic) for topic in TOPICS},
        "operations": _operations(),
        "components": {"messages": _messages(), "schemas": schemas},
    }


def _channel(topic: Topic) -> Json:
    retention = "for ever" if topic.retention_ms < 0 else _duration(topic.retention_ms)
    kafka: Json = {
        "topic": topic.name,
        "topicConfiguration": {"cleanup.policy": ["delete"], "retention.ms": topic.retention_ms},
        "bindingVersion": "0.5.0",
    }
    if topic.sharded:
        kafka["partitions"] = SHARDS_DEFAULT
    return {
        "address": topic.name,
        "description": f"{PROMISES[topic]} Kept: {retention}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _names(topic)},
        "bindings": {"kafka": kafka},
    }


def _names(topic: Topic) -> list[str]:
    """The messages of a topic."""
    names = {
        COMMANDS: list(ASKS | BULKS),
        EVENTS: list(FACTS),
        REPLIES: ["reply"],
        PAYMENTS: ["upstream-event"],
        REQUESTS: [_asked(name) for name in REQUESTS_BY_TYPE],
        DEAD_LETTERS: ["dead-letter"],
    }
    return names[topic]


def _operations() -> Json:
    actions = {
        COMMANDS: "receive",
        EVENTS: "send",
        REPLIES: "send",
        PAYMENTS: "receive",
        REQUESTS: "send",
        DEAD_LETTERS: "send",
    }
    return {
        f"{action}{_camel(topic)[0].upper()}{_camel(topic)[1:]}": {
            "action": action,
            "channel": {"$ref": f"#/channels/{_camel(topic)}"},
            "summary": f"The ledger {action}s these.",
            "description": f"Written by: {topic.written_by}. Read by: {topic.read_by}.",
        }
        for topic, action in actions.items()
    }


def _messages() -> Json:
    made = {name: _cloud_event(name, "Envelope", fact) for name, fact in FACTS.items()}
    made |= {name: _cloud_event(name, "Command", ask) for name, ask in (ASKS | BULKS).items()}
    made |= {
        _asked(name): {**_cloud_event(name, "RequestEvent", data), "name": _asked(name)}
        for name, data in REQUESTS_BY_TYPE.items()
    }
    made["reply"] = {
        "name": "reply",
        "summary": "What became of one command.",
        "payload": {"$ref": "#/components/schemas/Reply"},
    }
    made["upstream-event"] = {
        "name": "upstream-event",
        "summary": "A CloudEvent (extensions businessid, mode), or the envelope of a webhook.",
        "payload": {
            "type": "object",
            "required": ["type", "data"],
            "properties": {
                "type": {"type": "string", "examples": ["payment.succeeded"]},
                "business_id": {"type": "string"},
                "mode": {"enum": ["live", "test"]},
                "timestamp": {"type": "string", "format": "date-time"},
                "data": {"type": "object"},
            },
        },
    }
    made["dead-letter"] = {
        "name": "dead-letter",
        "summary": "A record that could not be a command.",
        "payload": {"$ref": "#/components/schemas/SealedLetter"},
    }
    return made


def _cloud_event(name: str, envelope: str, data: type) -> Json:
    return {
        "name": name,
        "title": data.__name__,
        "summary": inspect.cleandoc(data.__doc__ or ""),
        "contentType": _CLOUD_EVENT,
        "payload": {
            "allOf": [
                {"$ref": f"#/components/schemas/{envelope}"},
                {
                    "type": "object",
                    "properties": {
                        "type": {"const": name},
                        "data": {"$ref": f"#/components/schemas/{data.__name__}"},
                    },
                },
            ]
        },
        "bindings": {"kafka": {"key": _CUSTOMER_KEY, "bindingVersion": "0.5.0"}},
    }


def _asked(name: str) -> str:
    """The message to upstream that comes of a fact; the fact itself has that type as its name."""
    return f"{name}.asked"


def _camel(topic: Topic) -> str:
    """`ledger.dead-letters` as an identifier: `ledgerDeadLetters`."""
    first, *rest = topic.name.replace("-", ".").split(".")
    return first + "".join(word.capitalize() for word in rest)


def _duration(milliseconds: int) -> str:
    minutes = milliseconds // 60_000
    days, rest = divmod(minutes, 24 * 60)
    return f"{minutes} minutes" if rest or not days else f"{days} days"
