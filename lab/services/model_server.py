"""Requests of a model server, with the span that vLLM sends for each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine

from fastapi import Request, Response
from opentelemetry import trace

from behavior import Behavior, strikes
from engine import Engine, Sequence
from steps import Steps

TRACER = trace.get_tracer("vllm.llm_engine")


async def unless_disconnected(request: Request, work: Coroutine[None, None, Sequence]) -> Sequence | None:
    """The result of work; None if the client leaves before, which cancels it as in vLLM."""
    working, leaving = asyncio.create_task(work), asyncio.create_task(disconnection(request))
    await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
    leaving.cancel()
    if working.done():
        return working.result()
    working.cancel()
    return None


async def disconnection(request: Request) -> None:
    """Return when the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def generating(
    engine: Engine, steps: Steps, operation: str, behavior: Behavior
) -> Callable[[Request], Awaitable[Response]]:
    """The handler of a model server, with the span that vLLM sends for each request."""

    async def handle(request: Request) -> Response:
        current = behavior.of(operation)
        await steps.disturb(current)
        prompt = int(request.query_params.get("prompt", 200))
        output = int(float(request.query_params.get("output", 40)) * current.get("output_token_factor", 1.0))
        with TRACER.start_as_current_span("llm_request", kind=trace.SpanKind.SERVER) as span:
            sequence = await unless_disconnected(request, engine.generate(prompt, output))
            if sequence is None:
                return Response(status_code=499)
            span.set_attributes(
                {
                    "gen_ai.request.model": engine.name,
                    "gen_ai.usage.prompt_tokens": prompt,
                    "gen_ai.usage.completion_tokens": sequence.generated,
                    "gen_ai.latency.time_in_queue": sequence.admitted - sequence.arrived,
                    "gen_ai.latency.time_to_first_token": sequence.first_token - sequence.arrived,
                    "gen_ai.latency.e2e": time.monotonic() - sequence.arrived,
                }
            )
        return Response("injected", status_code=500) if strikes(current, "error_ratio") else Response("ok")

    return handle
