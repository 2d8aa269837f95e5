"""`/livez`, `/readyz` and `/metrics` of a process that serves nothing else."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

Problems = Callable[[], dict[str, str]]


async def serve(host: str, port: int, problems: Problems) -> web.AppRunner:
    """Start serving in this loop; `problems` names what is not ready, by component. Call `cleanup()` to stop."""

    async def livez(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def readyz(_: web.Request) -> web.Response:
        found = problems()
        body = {"status": "not ready" if found else "ready", "problems": found}
        return web.json_response(body, status=503 if found else 200)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
