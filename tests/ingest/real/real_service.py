"""A real HTTP service with OpenTelemetry's own instrumentation, run by a test in a separate process.

GET /job/{id}?fail=N: the last service of the chain fails the first N attempts at an id. Every other one calls the
next, up to three times, and fails when all attempts have. Each answer lists the calls that were made for it, and how
long the caller waited for each, measured apart from OpenTelemetry.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import time
from collections import Counter
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

ATTEMPTS = 3


def make_app(name: str, downstream: str, seconds: float) -> FastAPI:
    """The service `name`; it works for `seconds`, then calls `downstream` where there is one."""
    app = FastAPI()
    attempts: Counter[str] = Counter()
    client = httpx.AsyncClient(timeout=30, trust_env=False)

    @app.get("/job/{work}")
    async def work(work: str, fail: int) -> JSONResponse:
        await asyncio.sleep(seconds)
        attempts[work] += 1
        calls: list[dict[str, Any]] = []
        if not downstream:
            return JSONResponse({"calls": calls}, 500 if attempts[work] <= fail else 200)
        for attempt in range(ATTEMPTS):
            began = time.perf_counter()
            answer = await client.get(f"{downstream}/job/{work}", params={"fail": fail})
            waited = time.perf_counter() - began
            calls += answer.json()["calls"]
            failed = answer.status_code != httpx.codes.OK
            calls.append({"client": name, "failed": failed, "seconds": waited, "retry": attempt > 0})
            if not failed:
                return JSONResponse({"calls": calls})
        return JSONResponse({"calls": calls}, 502)

    return app


def main() -> None:
    """Serve until SIGTERM, then hand over the last spans."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--otlp", required=True)
    parser.add_argument("--downstream", default="")
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    provider = TracerProvider(resource=Resource.create({"service.name": options.name, "service.namespace": "shop"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(options.otlp), schedule_delay_millis=100))
    trace.set_tracer_provider(provider)
    HTTPXClientInstrumentor().instrument()
    app = make_app(options.name, options.downstream, options.seconds)
    FastAPIInstrumentor.instrument_app(app)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        try:
            uvicorn.Server(uvicorn.Config(app, log_level="warning")).run([listening])
        finally:
            provider.shutdown()


if __name__ == "__main__":
    main()
