"""A model server as vLLM is one: its metrics on the port of its API, and one SERVER span `llm_request` per request.

GET /job/{id} takes `--seconds` in one of `--slots` places of the batch; further requests wait. The metrics have
vLLM's names and no name of a service; the spans have no address.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import time

import uvicorn
from fastapi import FastAPI, Request, Response
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

MODEL = "bed-7b"
SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
RUNNING = Gauge("vllm:num_requests_running", "Requests in the batch.", ["model_name"]).labels(MODEL)
WAITING = Gauge("vllm:num_requests_waiting", "Requests that wait.", ["model_name"]).labels(MODEL)
SUCCESS = Counter("vllm:request_success", "Finished requests.", ["model_name"]).labels(MODEL)
LATENCY, QUEUE, TTFT = (
    Histogram(f"vllm:{name}_seconds", "A duration.", ["model_name"], buckets=SECONDS).labels(MODEL)
    for name in ("e2e_request_latency", "request_queue_time", "time_to_first_token")
)


def main() -> None:
    """Serve until SIGTERM, then hand over the last spans."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--otlp", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--slots", type=int, default=4)
    options = parser.parse_args()
    provider = TracerProvider(resource=Resource.create({"service.name": "model", "service.namespace": "bed"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(options.otlp), schedule_delay_millis=100))
    tracer = provider.get_tracer("vllm.llm_engine")
    slots = asyncio.Semaphore(options.slots)
    app = FastAPI()

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/job/{work}")
    async def generate(work: str, request: Request) -> dict[str, list[str]]:  # noqa: ARG001 - part of the path
        with tracer.start_as_current_span("llm_request", extract(request.headers), kind=trace.SpanKind.SERVER) as span:
            arrived = time.monotonic()
            with WAITING.track_inprogress():
                await slots.acquire()
            queued = time.monotonic() - arrived
            with RUNNING.track_inprogress():
                await asyncio.sleep(options.seconds)
            slots.release()
            span.set_attributes({"gen_ai.request.model": MODEL, "gen_ai.latency.time_in_queue": queued})
            QUEUE.observe(queued)
            TTFT.observe(queued + options.seconds / 2)
            LATENCY.observe(time.monotonic() - arrived)
            SUCCESS.inc()
        return {"calls": []}

    with socket.create_server(("0.0.0.0", 0)) as listening:  # noqa: S104 - under the name of the machine
        print(listening.getsockname()[1], flush=True)
        try:
            uvicorn.Server(uvicorn.Config(app, log_level="warning")).run([listening])
        finally:
            provider.shutdown()


if __name__ == "__main__":
    main()
