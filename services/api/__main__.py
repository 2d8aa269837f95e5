"""Composition root of the api: connect, serve, drain."""

import contextlib
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

import structlog
import uvicorn
import uvloop

from events.commands import GRACE_SECONDS
from services import logs, runtime
from services.api import metrics
from services.api.app import create_app
from services.api.asking import Asking
from services.api.auth import Authenticator
from services.api.gateway import KafkaGateway
from services.api.health import Checks
from services.api.limits import as_told, limits_of
from services.api.parts import Parts
from services.api.protocol import LimitedProtocol
from services.api.queries.blocklist import PostgresBlocklist
from services.api.queries.exports import PostgresExports
from services.api.queries.foreign import PostgresForeign
from services.api.queries.keyed import PostgresQueries
from services.api.queries.lookups import PostgresLookups
from services.api.rates import UsdRates
from services.api.visibility import PostgresVisibility
from services.api.webhooks.door import Door
from services.api.webhooks.publisher import KafkaPublisher
from services.api.webhooks.tables import PostgresDeliveries, PostgresEndpoints
from services.children import begin, failure_of
from services.keyring import parse_kek
from services.mistakes import check_shards
from services.settings import Settings
from services.topics import check_topics

log = structlog.get_logger()

_BACKLOG = 2048
_KEEP_ALIVE_SECONDS = 75


def main(settings: Settings) -> int:
    """Blocks until SIGTERM or SIGINT; the exit code. Errors of the configuration are raised before anything serves."""
    logs.configure(settings, "api")
    with _bound(settings) as listener:
        if settings.http_processes == 1:
            return uvloop.run(_serve(settings, listener))
        return _several(settings, listener)


@contextlib.contextmanager
def _bound(settings: Settings) -> Iterator[socket.socket]:
    """Taken before anything else starts: a second api on this port must not get as far as Kafka."""
    family = socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.http_host, settings.http_port))
        listener.listen(_BACKLOG)
        yield listener


@contextlib.asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[Parts]:
    """All parts, running. Whatever cannot be reached or does not fit is raised."""
    rates, limits = UsdRates(settings), limits_of(settings)
    await check_topics(settings)
    dsn = settings.views_dsn.get_secret_value()
    queries = PostgresQueries(dsn, settings.shards)
    lookups, exports = PostgresLookups(queries.searching), PostgresExports(dsn)
    visibility = PostgresVisibility(dsn, settings.shards, queries.checkpoints)
    gateway, publisher = KafkaGateway(settings), KafkaPublisher(settings)
    endpoints = PostgresEndpoints(queries.run, _webhook_key(settings))
    async with contextlib.AsyncExitStack() as stack:
        for pool in (queries, exports):
            stack.push_async_callback(pool.close)
            await pool.open()
        check_shards("the database of read models", len(await queries.checkpoints()), settings.shards)
        stack.push_async_callback(visibility.stop)
        await visibility.start()
        clients: tuple[KafkaGateway | KafkaPublisher, ...] = (gateway, publisher)
        for client in clients:
            stack.push_async_callback(client.stop)
            await client.start()
        yield Parts(
            settings=settings,
            auth=Authenticator(queries.key, limits),
            asking=Asking(gateway, visibility, settings.shards, settings.read_wait_seconds),
            queries=queries,
            blocklist=PostgresBlocklist(queries, queries.searching),
            lookups=lookups,
            exports=exports,
            foreign=PostgresForeign(queries, queries.searching),
            visibility=visibility,
            rates=rates,
            readiness=Checks(gateway.problems, queries.freshness, visibility.lag_seconds),
            door=Door(endpoints.opening, PostgresDeliveries(queries.run), publisher, limits),
        )


def _webhook_key(settings: Settings) -> bytes | None:
    text = settings.webhook_secret_key.get_secret_value()
    return parse_kek(text) if text else None


class Server(uvicorn.Server):
    """Signals only ask it to stop: the original repeats them at the end, and that kills the process before it closes."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._told)  # for good: a second signal must not end the way out
        yield

    def _told(self, *_: object) -> None:
        """Stop accepting, answer what is there, leave."""
        self.should_exit = True


async def _serve(settings: Settings, listener: socket.socket) -> int:
    async with _connected(settings) as parts:
        runtime.settle()
        config = uvicorn.Config(
            create_app(parts),
            http=LimitedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.http_trusted_proxies),
            forwarded_allow_ips=as_told(settings.http_trusted_proxies),
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=int(settings.command_deadline_seconds + GRACE_SECONDS + 1),
        )
        log.info("serving", host=settings.http_host, port=settings.http_port)
        await Server(config).serve(sockets=[listener])
    log.info("stopped")
    return 0


def _several(settings: Settings, listener: socket.socket) -> int:
    """One process per core behind one socket. One of them ending ends all: who watches us starts us again.

    Raises what one of them failed with.
    """
    with tempfile.TemporaryDirectory(prefix="wallet-ledger-metrics-") as folder:
        metrics.several_processes(folder)
        started = [begin(f"api-{n}", _child, settings, listener) for n in range(settings.http_processes)]
        children, pipes = zip(*started, strict=True)
        told: list[int] = []

        def tell(number: int, _: object) -> None:
            told.append(number)
            _tell(children)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, tell)
        wait(pipes)  # it failed, or its end of the pipe is closed
        # before their ends are waited for, too: a pipe holds little
        failures = [failure_of(pipe) for pipe in pipes]
        if not told:  # one of them died
            _tell(children)
        for child in children:
            child.join()
    failures += [failure_of(pipe) for pipe in pipes]
    for failure in filter(None, failures):
        raise failure
    return 0 if told and not any(child.exitcode for child in children) else 1


def _tell(children: Iterable[BaseProcess]) -> None:
    for child in children:
        if child.pid is not None and child.is_alive():
            os.kill(child.pid, signal.SIGTERM)


def _child(settings: Settings, listener: socket.socket) -> int:
    logs.configure(settings, "api")
    return uvloop.run(_serve(settings, listener))
