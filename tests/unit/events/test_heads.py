"""Signed heads: what one key said, to the letter, and nothing else."""

import base64
import contextlib
import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from events.heads import Head, Heads, NotSigned, opened, signed

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
HEADS = Heads(time="2026-11-29T12:00:00.000000Z", heads=[Head(0, 7, "ab" * 32), Head(3, 1, "0f" * 32)])
LINE = signed(HEADS, KEY)


def test_what_was_signed_is_read_again() -> None:
    assert opened(LINE, KEY.public_key()) == HEADS
    assert b"\n" not in LINE


@given(st.integers(0, len(LINE) - 1), st.integers(1, 255))
def test_no_byte_can_be_changed(place: int, by: int) -> None:
    """Or it says the same: base64 has bits that mean nothing."""
    changed = bytearray(LINE)
    changed[place] ^= by
    with contextlib.suppress(NotSigned):
        assert opened(bytes(changed), KEY.public_key()) == HEADS


def test_another_key_did_not_sign_it() -> None:
    with pytest.raises(NotSigned, match="another key"):
        opened(LINE, Ed25519PrivateKey.generate().public_key())


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[1]", b'{"statement":"{}","signature":"!"}', b"\xff", b"[" * 100_000], ids=str
)
def test_what_is_no_line_of_heads(line: bytes) -> None:
    with pytest.raises(NotSigned):
        opened(line, KEY.public_key())


def test_something_else_that_this_key_signed_are_no_heads() -> None:
    statement = '{"kind":"something.else","time":"2026-11-29T12:00:00.000000Z","heads":[]}'
    signature = base64.b64encode(KEY.sign(statement.encode())).decode()
    with pytest.raises(NotSigned, match="no signed heads"):
        opened(json.dumps({"statement": statement, "signature": signature}).encode(), KEY.public_key())


def test_openssl_agrees(tmp_path: Path) -> None:
    """An auditor needs none of our code."""
    line = json.loads(LINE)
    pem = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (tmp_path / "heads.pub").write_bytes(pem)
    (tmp_path / "statement").write_text(line["statement"])
    (tmp_path / "signature").write_bytes(base64.b64decode(line["signature"]))
    words = "pkeyutl -verify -rawin -pubin -inkey heads.pub -in statement -sigfile signature"
    subprocess.run(["openssl", *words.split()], cwd=tmp_path, check=True, capture_output=True)
