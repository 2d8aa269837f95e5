"""Whether the servers that the configuration names are there."""

import socket

import psycopg

from services.mistakes import ExitCode, Mistake

CONNECT_SECONDS_MAX = 5


def reach_database(dsn: str) -> None:
    """Connect once.

    Raises:
        psycopg.OperationalError: nobody answers there, or not to us.
    """
    psycopg.connect(dsn, connect_timeout=CONNECT_SECONDS_MAX).close()


def reach_kafka(variable: str, bootstrap: str) -> None:
    """Open a connection to one of the brokers.

    Raises:
        Mistake: one is no address, or none of them takes it.
    """
    said = "no address"
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        if not host or not port.isdigit():
            raise Mistake(f"{variable} is not host:port,...: {bootstrap}")
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS_MAX).close()
        except (OSError, OverflowError) as error:
            said = str(error)
        else:
            return
    raise Mistake(f"cannot reach Kafka at {bootstrap} ({variable}): {said}", ExitCode.UNREACHABLE)
