"""Fixtures with an engine, GPUs and processes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from foreshock_simulator.core.engine import Engine
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.hardware.gpu import Gpu
from foreshock_simulator.hardware.models import MODELS
from foreshock_simulator.hardware.worker import Worker
from foreshock_simulator.spec.platform import Sharing

NAME = ServiceName("ml", "some-service")

MakeGpu = Callable[..., Gpu]
MakeWorker = Callable[..., Worker]


@pytest.fixture
def engine() -> Engine:
    """An engine at time 0."""
    return Engine()


@pytest.fixture
def make_gpu(engine: Engine) -> MakeGpu:
    """Makes GPUs of one host."""
    count = 0

    def make(model: str = "H100", sharing: Sharing = "time-slicing", slices: tuple[int, ...] = ()) -> Gpu:
        nonlocal count
        count += 1
        return Gpu(engine, MODELS[model], "host-1", count - 1, sharing, slices)

    return make


@pytest.fixture
def make_worker() -> MakeWorker:
    """Makes processes on GPUs."""
    count = 0

    def make(*gpus: Gpu, memory: float = 1e9, instance: int | None = None) -> Worker:
        nonlocal count
        count += 1
        return Worker(gpus, count, NAME, memory, instance)

    return make
