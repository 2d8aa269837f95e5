"""`heads sign` and `heads check`: the log that was signed, another one, a shorter one, and lines that nobody signed."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec.structs import replace

from events.codec import digest
from events.heads import Heads, opened, signed
from events.topics import EVENTS
from services.console.heads import cut_off
from services.console.tail import Chain
from services.standalone.environment import environment
from tests.factories import EventFactory
from tests.integration.upkeep.conftest import SHARDS, Ran, command
from tests.running import System


def run(system: System, *words: str, code: int = 0) -> str:
    """Without `--json`."""
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", "heads", *words],
        env=environment(system.settings), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """As the help says to make them."""
    private, public = tmp_path / "heads.pem", tmp_path / "heads.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return private, public


def private_of(path: Path) -> Ed25519PrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def check(system: System, public: Path, *files: Path) -> Ran:
    return command(system, "heads", "check", *map(str, files), "--key", str(public))


def test_what_was_signed_is_found_in_the_log(system: System, keys: tuple[Path, Path], tmp_path: Path) -> None:
    private, public = keys
    file = tmp_path / "heads.jsonl"
    file.write_text("".join(run(system, "sign", "--key", str(private)) for _ in range(2)))
    key = serialization.load_pem_public_key(public.read_bytes())
    assert isinstance(key, Ed25519PublicKey)
    heads = opened(file.read_bytes().splitlines()[0], key).heads
    with system.store() as store:
        rows = store.execute(
            "SELECT shard, sequence, encode(head, 'hex') FROM shards ORDER BY shard"
        ).fetchall()
    assert [(one.shard, one.sequence, one.hash) for one in heads] == rows
    checked = check(system, public, file)
    events = sum(sequence for _, sequence, _ in rows)
    assert (checked.code, checked.out) == (
        0,
        {"lines": 2, "heads": 2 * SHARDS, "events": events, "wrong": []},
    )
    assert f"{2 * SHARDS} heads of 2 lines: all are in this log of {events:,} events" in run(
        system, "check", str(file), "--key", str(public)
    )


def test_another_log_and_a_shorter_one_are_told(
    system: System, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    private, public = keys
    key = private_of(private)
    line = run(system, "sign", "--key", str(private)).encode().strip()
    said = opened(line, key.public_key())
    other = replace(said.heads[0], hash="ab" * 32)
    later = replace(said.heads[1], sequence=said.heads[1].sequence + 1)
    forged = signed(Heads(time=said.time, heads=[other, later, said.heads[2]]), key)
    file = tmp_path / "heads.jsonl"
    file.write_bytes(b"\n".join([line, forged]))
    checked = check(system, public, file)
    assert checked.code == 5
    assert checked.out["wrong"] == [
        f"heads.jsonl:2: shard {other.shard} at {other.sequence} is another event in this log",
        f"heads.jsonl:2: shard {later.shard} at {later.sequence} is not in this log",
    ]
    assert "this is not the log whose heads were signed" in checked.err


def test_records_behind_the_end_do_not_move_a_head(
    system: System, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    """Who could have the first event signed for the last could write all others anew."""
    private, public = keys
    first = opened(
        run(system, "sign", "--key", str(private)).encode().strip(), private_of(private).public_key()
    )
    with system.store() as store:
        row = store.execute("SELECT state FROM stored_events WHERE shard = 0 AND sequence = 1").fetchone()
    assert row is not None
    asyncio.run(repeat(system, row[0]))
    again = opened(
        run(system, "sign", "--key", str(private)).encode().strip(), private_of(private).public_key()
    )
    assert again.heads == first.heads
    lower = replace(first.heads[0], sequence=1, hash=digest(row[0]).hex())
    file = tmp_path / "heads.jsonl"
    lines = [first, Heads(time=again.time, heads=[lower])]
    file.write_bytes(b"\n".join(signed(one, private_of(private)) for one in lines))
    checked = check(system, public, file)
    assert checked.out["wrong"] == ["heads.jsonl:2: shard 0 at 1 is before what an earlier line says"]


async def repeat(system: System, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=system.kafka.bootstrap) as producer:
        await producer.send_and_wait(EVENTS.name, value, partition=0)


def test_nothing_signed_is_nothing_checked(system: System, keys: tuple[Path, Path], tmp_path: Path) -> None:
    file = tmp_path / "heads.jsonl"
    file.write_bytes(b"")
    told = run(system, "check", str(file), "--key", str(keys[1]), code=5)
    assert "there is no line of signed heads" in told


async def test_a_log_whose_beginning_was_cut_is_told() -> None:
    chain = Chain(0)
    factory = EventFactory(shards=1)
    for number in range(3):
        factory.registered(f"cus_{number}")
    for record in factory.records[1:]:
        chain.take(record.value)
    assert list(cut_off([chain])) == ["shard 0 begins at 2: what was before is cut off"]
    assert list(cut_off([Chain(0)])) == []


def test_lines_that_this_key_did_not_sign(system: System, keys: tuple[Path, Path], tmp_path: Path) -> None:
    _, public = keys
    file = tmp_path / "heads.jsonl"
    foreign = signed(Heads(time="2026-11-29T12:00:00.000000Z", heads=[]), Ed25519PrivateKey.generate())
    for line in (foreign, b"no line", json.dumps({}).encode()):
        file.write_bytes(line)
        told = run(system, "check", str(file), "--key", str(public), code=5)
        assert told.startswith("wallet-ledger: heads.jsonl:1: ")


def test_wrong_keys_and_files_are_one_line(system: System, keys: tuple[Path, Path], tmp_path: Path) -> None:
    private, public = keys
    rsa = tmp_path / "rsa.pem"
    words = ["openssl", "genpkey", "-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(rsa)]
    subprocess.run(words, check=True, capture_output=True)
    for wrong in (public, rsa, tmp_path / "absent"):
        [line] = run(system, "sign", "--key", str(wrong), code=3).splitlines()
        assert "is no private key of Ed25519" in line or "cannot be read" in line
    secret = tmp_path / "secret.pem"
    words = ["openssl", "pkey", "-in", str(private), "-aes256", "-passout", "pass:x", "-out", str(secret)]
    subprocess.run(words, check=True, capture_output=True)
    assert "has a passphrase" in run(system, "sign", "--key", str(secret), code=3)
    [line] = run(system, "check", str(private), "--key", str(private), code=3).splitlines()
    assert "is no public key of Ed25519" in line
    [line] = run(system, "check", str(tmp_path / "absent"), "--key", str(public), code=3).splitlines()
    assert "cannot be read" in line
