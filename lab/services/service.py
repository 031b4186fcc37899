"""Program of a service: one replica, which its environment names.

LAB_SPEC: JSON file of the service. LAB_CONTROL: JSON file of a fault. LAB_ADDRESS: address of its socket on port 8080,
shared by the replicas. LAB_METRICS_PORT: port of the metrics of this process. LAB_DSN,
LAB_CACHE_URL: its stores. LAB_VOLUME: file.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from prometheus_client import start_http_server

from behavior import Behavior, Json, strikes
from engine import Engine
from model_server import generating
from steps import CallError, Steps, cached, pooled

Handler = Callable[[Request], Awaitable[Response]]


def main() -> None:
    """Serve until SIGTERM."""
    spec = json.loads(Path(os.environ["LAB_SPEC"]).read_text())
    behavior = Behavior(Path(os.environ["LAB_CONTROL"]))
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((os.environ["LAB_ADDRESS"], 8080))
    start_http_server(int(os.environ["LAB_METRICS_PORT"]), addr=os.environ["LAB_ADDRESS"])
    config = uvicorn.Config(application(spec, behavior), access_log=False, log_level="warning", timeout_keep_alive=25)
    uvicorn.Server(config).run(sockets=[listening])


def application(spec: Json, behavior: Behavior) -> FastAPI:
    """The web application of a service."""
    database = pooled(spec, os.environ["LAB_DSN"])
    steps = Steps(spec, database, cached(spec, os.environ["LAB_CACHE_URL"]), Path(os.environ["LAB_VOLUME"]))
    engine = Engine(spec["model"], behavior) if spec["model"] else None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await steps.open()
        batches = asyncio.create_task(engine.run()) if engine else None
        yield
        if batches:
            batches.cancel()

    app = FastAPI(title=spec["name"], lifespan=lifespan)
    workers = asyncio.Semaphore(spec["workers"])
    for operation in spec["operations"]:
        if engine:
            handler = generating(engine, steps, operation["name"], behavior)
        else:
            handler = handling(steps, operation, behavior, workers)
        app.add_api_route(f"/{operation['name']}", handler, methods=["GET", "POST"])
    FastAPIInstrumentor.instrument_app(app, exclude_spans=["receive", "send"])  # three internal spans per request
    return app


def handling(steps: Steps, operation: Json, behavior: Behavior, workers: asyncio.Semaphore) -> Handler:
    """The handler of an operation."""

    async def handle(request: Request) -> Response:
        current = behavior.of(operation["name"])
        async with workers:
            try:
                await steps.disturb(current)
                await steps.run(operation["steps"], dict(request.query_params), current)
            except CallError as error:
                return Response(f"{error}", status_code=502)
            except TimeoutError:
                return Response("no answer of the database in time", status_code=503)
        return Response("injected", status_code=500) if strikes(current, "error_ratio") else Response("ok")

    return handle


if __name__ == "__main__":
    main()
