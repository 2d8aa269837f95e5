"""What each hurt of a link looks like from its two ends."""

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.chaos.links import Network

SILENT_SECONDS = 0.2


@pytest.fixture
def network() -> Iterator[tuple[Network, socket.socket]]:
    listening = socket.create_server(("127.0.0.1", 0))
    made = Network(["way"])
    made.start({"way": listening.getsockname()[1]})
    yield made, listening
    made.stop()
    listening.close()


def connected(network: Network, listening: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Both ends of a way that has carried something."""
    process = socket.create_connection(("127.0.0.1", network.links["way"].port), timeout=5)
    server, _ = listening.accept()
    server.settimeout(5)
    process.sendall(b"hello")
    assert server.recv(5) == b"hello"
    server.sendall(b"you")
    assert process.recv(3) == b"you"
    return process, server


def ended(end: socket.socket) -> bool:
    """By a close or a reset."""
    with suppress(ConnectionError):
        return end.recv(1) == b""
    return True


def check_silent(end: socket.socket) -> None:
    end.settimeout(SILENT_SECONDS)
    with pytest.raises(TimeoutError):
        end.recv(1)
    end.settimeout(5)


def test_a_cut_tells_both_ends_and_a_new_way_is_open(network: tuple[Network, socket.socket]) -> None:
    process, server = connected(*network)
    network[0].hurt("way", "cut", 0)
    assert ended(process)
    assert ended(server)
    connected(*network)


def test_half_of_it_dies_and_the_process_hears_nothing(network: tuple[Network, socket.socket]) -> None:
    process, server = connected(*network)
    network[0].hurt("way", "half", 0)
    assert ended(server)
    process.sendall(b"is anybody there")
    check_silent(process)
    connected(*network)
    network[0].hurt("way", "mend", 0)
    assert ended(process)


def test_what_stalls_arrives_later(network: tuple[Network, socket.socket]) -> None:
    process, server = connected(*network)
    network[0].hurt("way", "stall", 0)
    process.sendall(b"x")
    check_silent(server)
    network[0].hurt("way", "mend", 0)
    assert server.recv(1) == b"x"


def test_an_end_that_closes_is_passed_on(network: tuple[Network, socket.socket]) -> None:
    process, server = connected(*network)
    process.close()
    assert ended(server)
