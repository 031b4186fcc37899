"""The server that goes with a model."""

from __future__ import annotations

from foreshock_simulator.core.engine import Engine
from foreshock_simulator.hardware.gpu import Gpu
from foreshock_simulator.hardware.worker import Worker
from foreshock_simulator.serving.batch_model import BatchServer
from foreshock_simulator.serving.llm import LlmServer
from foreshock_simulator.serving.server import ModelServer
from foreshock_simulator.spec.services import LlmSpec, ModelSpec


def memory_bytes(spec: ModelSpec, gpu: Gpu, slice: int | None = None) -> float:  # noqa: A002 - the word of MIG
    """Memory that a server of the model takes on each of its GPUs, or on their MIG instance of this index."""
    if not isinstance(spec, LlmSpec):
        return spec.memory_bytes
    model = gpu.model
    whole = model.memory_bytes - model.reserved_bytes
    return spec.memory_share * (whole if slice is None else gpu.instances[slice].memory_bytes)


def make_server(engine: Engine, spec: ModelSpec, worker: Worker) -> ModelServer:
    """Start the server of a model in a process, which has the memory that `memory_bytes` says.

    Raises:
        ValueError: the model does not fit into the process's GPUs.
    """
    return LlmServer(engine, spec, worker) if isinstance(spec, LlmSpec) else BatchServer(engine, spec, worker)
