"""Creates the model server of a model."""

from __future__ import annotations

from foreshock_simulator.core.engine import Engine
from foreshock_simulator.hardware.gpu import Gpu
from foreshock_simulator.hardware.worker import Worker
from foreshock_simulator.serving.batch_model import BatchServer
from foreshock_simulator.serving.llm import LlmServer
from foreshock_simulator.serving.server import ModelServer
from foreshock_simulator.spec.services import LlmSpec, ModelSpec


def memory_bytes(spec: ModelSpec, gpu: Gpu, slice: int | None = None) -> float:  # noqa: A002 - the word of MIG
    """Memory that the server of a model takes on each of its GPUs, or on the MIG instance `slice` of each."""
    if not isinstance(spec, LlmSpec):
        return spec.memory_bytes
    model = gpu.model
    available = model.memory_bytes - model.reserved_bytes
    return spec.memory_share * (available if slice is None else gpu.instances[slice].memory_bytes)


def make_server(engine: Engine, spec: ModelSpec, worker: Worker) -> ModelServer:
    """Start the server of a model in a process with `memory_bytes` of memory.

    Raises:
        ValueError: the model does not fit on the GPUs of the process.
    """
    return LlmServer(engine, spec, worker) if isinstance(spec, LlmSpec) else BatchServer(engine, spec, worker)
