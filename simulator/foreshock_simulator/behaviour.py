"""What each service does with a request.

Numbers of the language models: a 13-billion-parameter model in 16 bits on an H100 reads 26 GB of weights at 3.35 TB/s
for each token it generates (7.8 ms), and needs 2 × 13 GFLOP for each token of the prompt (65 µs at 400 TFLOP/s).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from foreshock_simulator.engine import Process
from foreshock_simulator.mesh import Context
from foreshock_simulator.request import CallFailed, Operation

CHAT: Final = "POST /v1/chat/completions"
CODE: Final = "POST /v1/completions"
EMBED: Final = "POST /v1/embeddings"
RERANK: Final = "POST /v1/rerank"
IMAGE: Final = "POST /v1/images/generations"
GENERATE: Final = "POST /generate"
VERIFY: Final = "POST /verify"
QUERY: Final = "POST /collections/documents/query"
UPSERT: Final = "PUT /collections/documents/points"
FEATURES: Final = "POST /v1/features"
CLAIM: Final = "POST /v1/jobs/claim"
ASK: Final = "POST /assistant"
SEARCH: Final = "GET /search"

PREFILL_SECONDS = 65e-6
DECODE_SECONDS = 7.8e-3
PREFILL_INTENSITY = 1.6
DECODE_INTENSITY = 0.28
MODEL_TIMEOUT = 20.0
"""Seconds that the gateway waits for a language model."""
FEATURE_TIMEOUT = 32.0
"""Seconds that a product feature waits for the gateway."""


def assistant(ctx: Context) -> Process:
    """A product feature: answers a user's question from documents."""
    yield ctx.cpu(0.004)
    yield from ctx.call("auth", VERIFY, timeout=1.0, attempts=2)
    try:
        yield from ctx.call("ml-platform", FEATURES, timeout=0.5)
    except CallFailed:
        ctx.attributes["app.personalised"] = False
    prompt, generated = ctx.tokens
    yield from ctx.call("gateway", EMBED, timeout=2.0, attempts=2, tokens=(min(prompt, 512), 0))
    yield from ctx.call("vector-store", QUERY, timeout=1.0, attempts=2)
    yield from ctx.call("gateway", CHAT, timeout=FEATURE_TIMEOUT, attempts=2, tokens=(prompt, generated))
    if ctx.chance(0.02):
        yield from ctx.call("gateway", IMAGE, timeout=20.0, tokens=(60, 0))


def search(ctx: Context) -> Process:
    """A product feature: finds documents and orders them."""
    yield ctx.cpu(0.003)
    yield from ctx.call("auth", VERIFY, timeout=1.0, attempts=2)
    yield from ctx.call("gateway", EMBED, timeout=2.0, attempts=2, tokens=(24, 0))
    yield from ctx.call("vector-store", QUERY, timeout=1.0, attempts=2)
    try:
        yield from ctx.call("ml-platform", FEATURES, timeout=0.5)
        yield from ctx.call("gateway", RERANK, timeout=1.5, tokens=(2400, 0))
    except CallFailed:
        ctx.attributes["app.reranked"] = False
    yield ctx.cpu(0.002)


def forward(model: str, timeout: float, attempts: int, *, authenticate: bool = False) -> Callable[[Context], Process]:
    """The gateway's part: admit the request and hand it to a model server."""

    def handler(ctx: Context) -> Process:
        yield ctx.cpu(0.0015)
        if authenticate:
            yield from ctx.call("auth", VERIFY, timeout=1.0, attempts=2)
        yield from ctx.call(model, GENERATE, timeout=timeout, attempts=attempts, tokens=ctx.tokens)

    return handler


def language_model(model: str) -> Callable[[Context], Process]:
    """A model server with continuous batching: the prompt, then a token at a time."""

    def handler(ctx: Context) -> Process:
        prompt, generated = ctx.tokens
        begun = ctx.now
        arrived = ctx.request.arrived if ctx.request else begun
        yield ctx.gpu(0.004 + PREFILL_SECONDS * prompt, PREFILL_INTENSITY)
        ctx.attributes |= {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": model,
            "gen_ai.usage.input_tokens": prompt,
            "gen_ai.usage.output_tokens": generated,
            "gen_ai.latency.time_in_queue": begun - arrived,
            "gen_ai.latency.time_to_first_token": ctx.now - arrived,
        }
        yield ctx.gpu(DECODE_SECONDS * max(1, generated), DECODE_INTENSITY)

    return handler


def embedder(ctx: Context) -> Process:
    """A small encoder."""
    yield ctx.gpu(0.006 + 20e-6 * ctx.tokens[0], 0.6)


def reranker(ctx: Context) -> Process:
    """A cross-encoder over the candidates."""
    yield ctx.gpu(0.012 + 8e-6 * ctx.tokens[0], 0.9)


def image_generator(ctx: Context) -> Process:
    """A diffusion model."""
    yield ctx.gpu(ctx.cpu(2.2, 0.15), 3.0)


def busy_for(median: float, spread: float = 0.3) -> Callable[[Context], Process]:
    """A service without a GPU and without calls of its own."""

    def handler(ctx: Context) -> Process:
        yield ctx.cpu(median, spread)

    return handler


OPERATIONS: tuple[Operation, ...] = (
    Operation("assistant-feature", ASK, assistant),
    Operation("search-feature", SEARCH, search),
    Operation("gateway", CHAT, forward("llm-chat", MODEL_TIMEOUT, 2)),
    Operation("gateway", CODE, forward("llm-code", MODEL_TIMEOUT, 2, authenticate=True)),
    Operation("gateway", EMBED, forward("embedder", 1.0, 2), response_bytes=6200),
    Operation("gateway", RERANK, forward("reranker", 1.0, 1)),
    Operation("gateway", IMAGE, forward("image-gen", 15.0, 1), response_bytes=400_000),
    Operation("llm-chat", GENERATE, language_model("chat-13b")),
    Operation("llm-code", GENERATE, language_model("code-13b")),
    Operation("embedder", GENERATE, embedder, response_bytes=6200),
    Operation("reranker", GENERATE, reranker),
    Operation("image-gen", GENERATE, image_generator, response_bytes=400_000),
    Operation("auth", VERIFY, busy_for(0.0015)),
    Operation("vector-store", QUERY, busy_for(0.011, 0.4), request_bytes=6600, response_bytes=24_000),
    Operation("vector-store", UPSERT, busy_for(0.030, 0.4), request_bytes=800_000),
    Operation("ml-platform", FEATURES, busy_for(0.005)),
    Operation("ml-platform", CLAIM, busy_for(0.003)),
)
