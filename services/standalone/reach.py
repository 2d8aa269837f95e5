"""Whether the servers that the configuration names are there, and the api knows a key."""

import socket
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import Request

import psycopg

from services.mistakes import ExitCode, Mistake
from services.standalone.process import StandaloneError
from services.standalone.supervisor import direct

CONNECT_SECONDS_MAX = 5


def reach_database(dsn: str) -> None:
    """Connect once.

    Raises:
        psycopg.OperationalError: nobody answers there, or not to us.
    """
    psycopg.connect(dsn, connect_timeout=CONNECT_SECONDS_MAX).close()


def reach_kafka(bootstrap: str) -> None:
    """Open a connection to one of the brokers.

    Raises:
        Mistake: none of them takes it.
    """
    said = ""
    for address in bootstrap.split(","):
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS_MAX).close()
        except OSError as error:
            said = str(error)
        else:
            return
    raise Mistake(
        f"cannot reach Kafka at {bootstrap} (WALLET_LEDGER_KAFKA_BOOTSTRAP): {said}", ExitCode.UNREACHABLE
    )


def accepts(base_url: str, api_key: str) -> bool:
    """Whether the api knows this key.

    Raises:
        StandaloneError: it answers something else, or nothing.
    """
    url = f"{base_url}/customers?page_size=1"
    request = Request(url, headers={"Authorization": f"Bearer {api_key}"})  # noqa: S310 - our own api
    try:
        with direct.open(request, timeout=10):
            return True
    except HTTPError as error:
        if error.code in (401, 403):
            return False
        raise StandaloneError(f"the api answers {error.code} to GET /customers") from error
    except (OSError, HTTPException) as error:
        raise StandaloneError(f"the api does not answer: {error}") from error
