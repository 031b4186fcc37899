"""Model servers on GPUs of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from foreshock_simulator.core.engine import Engine
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.hardware.gpu import Gpu
from foreshock_simulator.hardware.models import MODELS
from foreshock_simulator.hardware.worker import Worker
from foreshock_simulator.serving.llm import LlmServer
from foreshock_simulator.serving.server import memory_bytes
from foreshock_simulator.spec.services import LlmSpec

NAME = ServiceName("serving", "llm-chat")
MakeServer = Callable[..., LlmServer]


@pytest.fixture
def engine() -> Engine:
    """An engine at time 0."""
    return Engine()


@pytest.fixture
def make_llm(engine: Engine) -> MakeServer:
    """Makes servers of a 13-billion-parameter model.

    Takes fields of its spec by name, and up to `blocks` of KV cache.
    """

    def make(blocks: int | None = None, model: str = "H100", **changed: object) -> LlmServer:
        spec = replace(LlmSpec("llama-13b"), **changed)  # type: ignore[arg-type]
        gpus = [Gpu(engine, MODELS[model], "host-1", index) for index in range(spec.tensor_parallel)]
        memory = memory_bytes(spec, gpus[0])
        if blocks is not None:
            weights = 2e9 * spec.parameters / spec.tensor_parallel
            memory = weights + 2e9 + (blocks + 0.5) * 16 * spec.kv_bytes_per_token / spec.tensor_parallel
        return LlmServer(engine, spec, Worker(gpus, 1, NAME, memory))

    return make
