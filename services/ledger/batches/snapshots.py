"""Snapshots: an aggregate's state after so many committed events. A cache of the fold, never the truth. Pure.

A stream only grows and a snapshot names the last event in it by its hash, so one of committed state is true for
ever, whoever writes it and however late. One that is missing, older, damaged, in another form, or of a history
that this store does not hold is ignored, and the stream is folded.
"""

import hashlib
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import msgspec.inspect

from services.ledger.domain.states import State

SNAPSHOT_EVERY = 200
"""Events of a stream."""

FOLD = 2
"""Raise it when `evolve` reads old events otherwise than before: older snapshots are ignored from then on."""

_MARK_BYTES = 4
_CHECK_BYTES = 8
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(State)


class Snapshot(NamedTuple):
    """As stored: `head` is the hash of the stream's event `version`, `state` as `encoded` makes it."""

    stream: UUID
    version: int
    head: bytes
    state: bytes


def pack(state: State) -> bytes:
    """State in memory: a fifth of the object's size, and nothing that the garbage collector looks at."""
    return _encoder.encode(state)


def unpack(packed: bytes) -> State:
    state: State = _decoder.decode(packed)
    return state


def snapshot(stream: UUID, state: State, head: bytes) -> Snapshot:
    """Only of committed state."""
    packed = pack(state)
    return Snapshot(stream, state.version, head, _MARK + _check(stream, head, packed) + packed)


def read(found: Snapshot) -> State | None:
    """The state; None where it cannot be used. Whether the store holds its history is not looked at here."""
    mark, check = found.state[:_MARK_BYTES], found.state[_MARK_BYTES : _MARK_BYTES + _CHECK_BYTES]
    packed = found.state[_MARK_BYTES + _CHECK_BYTES :]
    if mark != _MARK or check != _check(found.stream, found.head, packed):
        return None
    try:
        state = unpack(packed)
    except msgspec.DecodeError:
        return None
    return state if state.version == found.version else None


def _check(stream: UUID, head: bytes, packed: bytes) -> bytes:
    return hashlib.sha256(stream.bytes + head + packed).digest()[:_CHECK_BYTES]


def _mark(form: Any) -> bytes:
    """A new field needs no new `FOLD`, however deep in the state it lies."""
    return hashlib.sha256(f"{FOLD} {msgspec.inspect.type_info(form)}".encode()).digest()[:_MARK_BYTES]


_MARK = _mark(State)
