"""Personal data under a key of its customer: AES-256-GCM (NIST SP 800-38D), random 96-bit nonces.

Form: `1.<base64url(nonce | ciphertext | tag)>`. The additional data binds customer and event, so that
a sealed part cannot be moved to another event. Destroying the key erases what is sealed.
"""

import base64
import os
from typing import TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import UNSET

from events.fact import Fact
from events.personal import Personal

KEY_BYTES = 32
_NONCE_BYTES = 12
_FORM = "1."

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Personal)
F = TypeVar("F", bound=Fact)


class Unsealable(ValueError):
    """Another key, another event, or changed bytes."""


def new_key() -> bytes:
    return os.urandom(KEY_BYTES)


def additional_data(stream: str, position: str) -> bytes:
    """Customer and event, as bound by the seal."""
    return f"{stream}|{position}".encode()


def seal_bytes(key: bytes, plain: bytes, aad: bytes) -> str:
    nonce = os.urandom(_NONCE_BYTES)
    return _text(nonce + AESGCM(key).encrypt(nonce, plain, aad))


def _text(raw: bytes) -> str:
    return _FORM + base64.urlsafe_b64encode(raw).decode()


def open_bytes(key: bytes, sealed: str, aad: bytes) -> bytes:
    """Raises Unsealable."""
    if not sealed.startswith(_FORM):
        raise Unsealable("unknown form of seal")
    try:
        raw = base64.urlsafe_b64decode(sealed[len(_FORM) :])
        if _text(raw) != sealed:  # the decoder skips foreign letters and spare bits
            raise Unsealable("changed bytes")
        return AESGCM(key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], aad)
    except (InvalidTag, ValueError) as error:
        raise Unsealable("wrong key, wrong event, or changed bytes") from error


def seal(fact: F, key: bytes, stream: str, position: str) -> F:
    """The fact as it may be stored: `personal` gone, `sealed` in its place."""
    if fact.personal is UNSET:
        return fact
    plain = _encoder.encode(fact.personal)
    sealed = seal_bytes(key, plain, additional_data(stream, position))
    return msgspec.structs.replace(fact, personal=UNSET, sealed=sealed)


def unseal(fact: F, key: bytes, stream: str, position: str) -> F:
    """The fact with its personal data in clear. Raises Unsealable."""
    if fact.sealed is UNSET:
        return fact
    plain = open_bytes(key, fact.sealed, additional_data(stream, position))
    try:
        return msgspec.structs.replace(fact, personal=_decoder.decode(plain), sealed=UNSET)
    except msgspec.DecodeError as error:
        raise Unsealable("what was sealed is no personal data") from error


def wrap_key(kek: bytes, key: bytes, owner: str) -> bytes:
    """A data key as it lies in the key table: nonce | AES-256-GCM under the key-encryption key."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(kek).encrypt(nonce, key, owner.encode())


def unwrap_key(kek: bytes, wrapped: bytes, owner: str) -> bytes:
    """Raises Unsealable."""
    try:
        return AESGCM(kek).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], owner.encode())
    except (InvalidTag, ValueError) as error:
        raise Unsealable("the key-encryption key does not fit this data key") from error
