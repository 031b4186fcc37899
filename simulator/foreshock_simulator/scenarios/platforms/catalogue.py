"""The services of every generated platform, with the same names; the small one has some of them.

CPU times and timeouts are assumptions of an ordinary platform; those of models follow from the hardware.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.spec.services import (
    BatchModelSpec,
    Cached,
    Call,
    CallPolicy,
    Cpu,
    LlmSpec,
    OperationSpec,
    Serve,
    ServiceSpec,
    Slo,
    Sometimes,
    Step,
    TenantSpec,
    Together,
)  # fmt: skip

CHAT: Final = "POST /v1/chat/completions"
CODE: Final = "POST /v1/completions"
EMBED: Final = "POST /v1/embeddings"
INGEST: Final = "POST /v1/embeddings/documents"
RERANK: Final = "POST /v1/rerank"
IMAGE: Final = "POST /v1/images/generations"
GENERATE: Final = "POST /generate"
DOCUMENTS: Final = "POST /generate/documents"
VERIFY: Final = "POST /verify"
QUERY: Final = "POST /collections/documents/query"
UPSERT: Final = "PUT /collections/documents/points"
FEATURES: Final = "POST /v1/features"
CLAIM: Final = "POST /v1/jobs/claim"
ASK: Final = "POST /assistant"
SEARCH: Final = "GET /search"

QUICK: Final = CallPolicy(timeout=1.0, attempts=2)
OPTIONAL: Final = CallPolicy(timeout=0.5, required=False)
JOB: Final = CallPolicy(timeout=5.0, attempts=3, required=False)
MODEL: Final = CallPolicy(timeout=20.0, attempts=2)
"""Policy of a gateway towards a language model."""
FEATURE: Final = CallPolicy(timeout=32.0, attempts=2)
"""Policy of a product feature towards the gateway."""
CHAT_MODEL: Final = LlmSpec("chat-13b", memory_share=0.75)
"""It leaves a quarter of the GPU's memory to tenants."""


def forward(
    route: str, model: str, target: str, policy: CallPolicy, *before: Step, response: int = 900
) -> OperationSpec:
    """An operation of a gateway: admit the request and forward it to a model server."""
    return OperationSpec(route, (Cpu(0.0015), *before, Call(model, target, policy)), response_bytes=response)


def database(name: ServiceName, median: float, hosts: tuple[str, ...] = ()) -> ServiceSpec:
    """A store that answers queries and accepts documents."""
    return ServiceSpec(
        name,
        (
            OperationSpec(QUERY, (Cpu(median, 0.4),), request_bytes=6600, response_bytes=24_000),
            OperationSpec(UPSERT, (Cpu(0.030, 0.4),), request_bytes=800_000),
        ),
        replicas=2,
        threads=32,
        hosts=hosts,
        slo=Slo(0.3),
        tier="data",
        kind="database",
    )


def vector_store() -> ServiceSpec:
    """A store that sends spans of its own, as vector databases do."""
    return replace(database(ServiceName("data", "vector-store"), 0.011), kind="service")


_verify = Call("auth", VERIFY, QUICK)
_features = Call("ml-platform", FEATURES, OPTIONAL)
_query = Call("vector-store", QUERY, QUICK)

SERVICES: Final[tuple[ServiceSpec, ...]] = (
    ServiceSpec(
        ServiceName("product", "assistant-feature"),
        (
            OperationSpec(
                ASK,
                (
                    Cpu(0.004),
                    _verify,
                    _features,
                    Call("gateway", EMBED, CallPolicy(2.0, attempts=2), prompt_tokens=512, generated_tokens=0),
                    _query,
                    Call("gateway", CHAT, FEATURE),
                    Sometimes(0.02, (Call("gateway", IMAGE, CallPolicy(20.0), 60, 0),)),
                ),
            ),
        ),
        replicas=2,
        threads=96,
        slo=Slo(20.0),
        tier="interactive",
    ),
    ServiceSpec(
        ServiceName("product", "search-feature"),
        (
            OperationSpec(
                SEARCH,
                (
                    Cpu(0.003),
                    Together((_verify, _features)),
                    Call("gateway", EMBED, CallPolicy(2.0, attempts=2), prompt_tokens=24, generated_tokens=0),
                    _query,
                    Call("gateway", RERANK, CallPolicy(1.5, required=False), 2400, 0),
                    Cpu(0.002),
                ),
            ),
        ),
        replicas=2,
        slo=Slo(1.0),
        tier="interactive",
    ),
    ServiceSpec(
        ServiceName("serving", "gateway"),
        (
            forward(CHAT, "llm-chat", GENERATE, MODEL),
            forward(CODE, "llm-code", GENERATE, MODEL, _verify),
            forward(EMBED, "embedder", GENERATE, QUICK, response=6200),
            forward(INGEST, "embedder", DOCUMENTS, CallPolicy(10.0), response=6200),
            forward(RERANK, "reranker", GENERATE, CallPolicy(1.0)),
            forward(IMAGE, "image-gen", GENERATE, CallPolicy(15.0), response=400_000),
        ),
        replicas=3,
        threads=128,
        slo=Slo(18.0),
        tier="platform",
    ),
    ServiceSpec(
        ServiceName("serving", "llm-chat"),
        (OperationSpec(GENERATE, (Serve(),)),),
        threads=512,
        backlog=1024,
        pool="chat",
        model=CHAT_MODEL,
        slo=Slo(16.0),
        tier="interactive",
    ),
    ServiceSpec(
        ServiceName("serving", "llm-code"),
        (OperationSpec(GENERATE, (Serve(),)),),
        threads=512,
        backlog=1024,
        pool="code",
        model=LlmSpec("code-13b", memory_share=0.75),
        slo=Slo(16.0),
        tier="interactive",
    ),
    ServiceSpec(
        ServiceName("serving", "embedder"),
        (
            OperationSpec(GENERATE, (Serve(),), response_bytes=6200),
            OperationSpec(DOCUMENTS, (Serve("documents"),), response_bytes=6200),
        ),
        pool="embed",
        model=BatchModelSpec("embed-large", 0.006, 20e-6, sm=0.45, dram=0.35, memory_bytes=8e9),
        slo=Slo(0.5),
        tier="interactive",
    ),
    ServiceSpec(
        ServiceName("serving", "reranker"),
        (OperationSpec(GENERATE, (Serve(),)),),
        pool="embed",
        model=BatchModelSpec("rerank-base", 0.012, 8e-6, sm=0.6, dram=0.4, max_batch=16, memory_bytes=10e9),
        slo=Slo(0.6),
        tier="interactive",
    ),
    ServiceSpec(
        ServiceName("serving", "image-gen"),
        (OperationSpec(GENERATE, (Serve(),), response_bytes=400_000),),
        pool="image",
        model=BatchModelSpec("diffusion-xl", 2.2, sm=0.95, dram=0.5, max_batch=1, memory_bytes=38e9),
        slo=Slo(12.0),
        tier="background",
    ),
    ServiceSpec(
        ServiceName("ml", "ml-platform"),
        (
            OperationSpec(FEATURES, (Cached("feature-cache", 0.8, (Cpu(0.012),)), Cpu(0.001))),
            OperationSpec(CLAIM, (Cpu(0.003),)),
        ),
        replicas=2,
        slo=Slo(0.2),
        tier="platform",
    ),
    vector_store(),
    ServiceSpec(
        ServiceName("platform", "auth"),
        (OperationSpec(VERIFY, (Cpu(0.0015),)),),
        replicas=2,
        slo=Slo(0.2),
        tier="platform",
    ),
)
"""All services; `restrict` removes those that a platform lacks. Hosts and replicas depend on the size."""
MODEL_BY_ROUTE: Final = {CHAT: "llm-chat", CODE: "llm-code", EMBED: "embedder", RERANK: "reranker", IMAGE: "image-gen"}
"""The model behind each route of the gateway."""

BATCH_EMBED: Final = TenantSpec(
    ServiceName("ml", "batch-embed"),
    "batch",
    (),
    work=0.35,
    pause=0.9,
    sm=0.6,
    dram=0.5,
    memory_bytes=4e9,
    calls=(Call("ml-platform", CLAIM, JOB), Call("vector-store", UPSERT, JOB)),
)
SLICED_BATCH: Final = replace(BATCH_EMBED, name=ServiceName("ml", "sliced-batch"))
NIGHTLY_EVAL: Final = TenantSpec(
    ServiceName("ml", "nightly-eval"),
    "batch",
    (),
    work=0.5,
    pause=0.7,
    sm=0.25,
    dram=0.3,
    memory_bytes=8e9,
    unit=20,
    calls=(Call("ml-platform", CLAIM, JOB),),
)
TRAIN: Final = TenantSpec(
    ServiceName("ml", "train-llm"),
    "training",
    (),
    work=1.4,
    pause=0.25,
    sm=0.92,
    dram=0.55,
    memory_bytes=62e9,
    gradient_bytes=350e6,
)
