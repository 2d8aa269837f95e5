"""Whether the servers that the configuration names are there; said in one line without their passwords."""

import socket

import psycopg

from services.standalone.process import NotThere, WrongSetting

CONNECT_SECONDS_MAX = 5


def reach_database(variable: str, dsn: str) -> None:
    """Connect once.

    Raises:
        WrongSetting: it is no address.
        NotThere: nobody answers there, or not to us.
    """
    try:
        psycopg.connect(dsn, connect_timeout=CONNECT_SECONDS_MAX).close()
    except psycopg.OperationalError as error:
        said = str(error).strip().splitlines()[-1]
        raise NotThere(f"cannot connect to the database of {variable}: {said}") from None
    except psycopg.Error:  # its message quotes the DSN
        raise WrongSetting(f"{variable} is not a PostgreSQL address: postgresql://user@host/name") from None


def reach_kafka(variable: str, bootstrap: str) -> None:
    """Open a connection to one of the brokers.

    Raises:
        WrongSetting: one is no address.
        NotThere: none of them takes it.
    """
    said = "no address"
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        if not host or not port.isdigit():
            raise WrongSetting(f"{variable} is not host:port,...: {bootstrap}")
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS_MAX).close()
        except (OSError, OverflowError) as error:
            said = str(error)
        else:
            return
    raise NotThere(f"cannot reach Kafka at {bootstrap} ({variable}): {said}")
