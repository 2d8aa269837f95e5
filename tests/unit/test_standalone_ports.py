"""No two servers of ours get the same port, though they listen later than they are told it."""

import socket

import pytest

from services.mistakes import ExitCode, Mistake
from services.settings import Settings
from services.standalone import ports


@pytest.fixture
def two_free(monkeypatch: pytest.MonkeyPatch) -> range:
    """All the ports there are."""
    first = next(port for port in iter(ports.free_port, 0) if ports.port_is_free(port + 1))
    monkeypatch.setattr(ports, "_promised", set())
    monkeypatch.setattr(ports, "PORTS", range(first, first + 2))
    monkeypatch.setattr("random.sample", lambda found, _: list(found))
    return ports.PORTS


def test_a_port_that_the_settings_name_is_given_to_nobody_else(two_free: range) -> None:
    ports.promise(Settings(http_port=two_free[0]))
    assert ports.free_port() == two_free[1]


def test_no_port_is_given_twice(two_free: range) -> None:
    assert [ports.free_port(), ports.free_port()] == list(two_free)
    with pytest.raises(Mistake, match="no free port") as told:
        ports.free_port()
    assert told.value.exit_code is ExitCode.DEFECT


def test_the_port_of_a_kafka_of_their_own_is_theirs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as kafka:
        port = kafka.getsockname()[1]
        with pytest.raises(Mistake, match="taken"):
            ports.promise(Settings(http_port=ports.free_port(), kafka_port=port))
        ports.promise(
            Settings(http_port=ports.free_port(), kafka_port=port, kafka_bootstrap=f"127.0.0.1:{port}")
        )
