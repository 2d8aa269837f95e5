"""Ports: which are free, and that no two servers of ours get the same."""

import random
import socket

from services.mistakes import ExitCode, Mistake
from services.settings import PORT_MAX, SERVED_PORTS, Settings

PORTS = range(20_000, 32_000)
"""Below what systems hand out to clients, so that a server can have its port again."""
OF_SERVERS = ("kafka_port", "postgres_port")
LOOPBACK = "127.0.0.1"
_promised: set[int] = set()
"""To servers of ours that may not listen yet."""


def promise(settings: Settings) -> None:
    """The ports that the settings name, before anything starts.

    Raises:
        Mistake: two are the same, or one cannot be had.
    """
    wanted: dict[int, str] = {}
    dsns = (settings.store_dsn, settings.views_dsn, settings.keys_dsn)
    theirs = {"kafka_port": bool(settings.kafka_bootstrap), "postgres_port": all(dsns)}
    for name in (*SERVED_PORTS, *(name for name in OF_SERVERS if not theirs[name])):
        port: int = getattr(settings, name)
        if not port:
            continue
        variable = f"WALLET_LEDGER_{name.upper()}"
        if port in wanted:
            raise Mistake(
                f"port {port} is wanted twice, by {_described(wanted[port])} and by {_described(name)}: "
                f"set {variable} to another one"
            )
        wanted[port] = name
        host = settings.http_host if name in SERVED_PORTS else LOOPBACK
        if not port_is_free(port, host):
            cure = ", or correct WALLET_LEDGER_HTTP_HOST" if name in SERVED_PORTS else ""
            raise Mistake(
                f"port {port} of {host} is taken or cannot be used: set {variable} to another one{cure}"
            )
    _promised.update(wanted)


def _described(name: str) -> str:
    about = Settings.model_fields[name].description
    return f"WALLET_LEDGER_{name.upper()}" + (f" ({about})" if about else "")


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now (a socket in TIME_WAIT does not count)."""
    if not 0 < port <= PORT_MAX:
        return False
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def url_here(host: str, port: int) -> str:
    """How a client on this machine reaches what listens there."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def free_port() -> int:
    """Any port of the loopback interface where a server can listen; never one that was promised before."""
    for port in random.sample(PORTS, 200):
        if port not in _promised and port_is_free(port):
            _promised.add(port)
            return port
    raise Mistake(f"no free port between {PORTS.start} and {PORTS.stop}", ExitCode.DEFECT)


def accepts(port: int) -> bool:
    """Whether something on loopback takes connections on this port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
