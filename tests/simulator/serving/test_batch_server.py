"""Servers of embedders, rerankers and diffusion models."""

from __future__ import annotations

from dataclasses import replace

import pytest

from foreshock_simulator.core.engine import Engine
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.hardware.gpu import Gpu
from foreshock_simulator.hardware.models import MODELS
from foreshock_simulator.hardware.worker import Worker
from foreshock_simulator.serving.batch_model import BatchServer
from foreshock_simulator.serving.server import memory_bytes
from foreshock_simulator.spec.services import BatchModelSpec

NAME = ServiceName("serving", "embedder")
SPEC = BatchModelSpec("bge-large", seconds=1.0, sm=0.5, dram=0.2, max_batch=2, max_waiting=2)


def serving(engine: Engine, **changed: float) -> BatchServer:
    """A server on a dedicated GPU."""
    gpu = Gpu(engine, MODELS["A100"], "host-1", 0)
    spec = replace(SPEC, **changed)  # type: ignore[arg-type]
    return BatchServer(engine, spec, Worker([gpu], 1, NAME, memory_bytes(spec, gpu)))


@pytest.mark.parametrize(("sm", "seconds"), [(0.5, 1.0), (1.0, 2.0)])
def test_concurrent_requests_slow_down_only_beyond_the_gpus_capacity(engine: Engine, sm: float, seconds: float) -> None:
    """Two with half of the SMs each are not slower; two that need all of them share."""
    server = serving(engine, sm=sm)
    for _ in range(2):
        server.submit(100)
    engine.run(10.0)
    latency = server.stats().histograms["e2e_request_latency"]
    assert latency.sum / sum(latency.counts) == pytest.approx(seconds)


def test_longer_prompts_take_longer(engine: Engine) -> None:
    """By a constant time per token."""
    server = serving(engine, seconds_per_token=0.01)
    server.submit(300)
    engine.run(10.0)
    assert server.stats().histograms["e2e_request_latency"].sum == pytest.approx(4.0)


def test_requests_beyond_the_batch_wait_and_beyond_the_queue_are_rejected(engine: Engine) -> None:
    """Two run, two wait in order, the fifth is rejected at once."""
    server = serving(engine)
    jobs = [server.submit(100) for _ in range(5)]
    assert [job.done.fired for job in jobs] == [False] * 4 + [True]
    stats = server.stats()
    assert (stats.num_requests_running, stats.num_requests_waiting, server.load) == (2, 2, 4)
    engine.run(10.0)
    assert [job.queued_seconds for job in jobs] == [0.0, 0.0, pytest.approx(1.0), pytest.approx(1.0), None]
    assert [job.done.value for job in jobs] == [True] * 4 + [False]


def test_a_cancelled_request_makes_room_at_once(engine: Engine) -> None:
    """Running or waiting; the next one starts."""
    server = serving(engine)
    jobs = [server.submit(100) for _ in range(4)]
    engine.run(0.4)
    server.cancel(jobs[2])
    server.cancel(jobs[0])
    server.cancel(jobs[0])
    assert (server.load, server.stats().num_requests_running) == (2, 2)
    engine.run(10.0)
    assert jobs[3].queued_seconds == pytest.approx(0.4)
    assert [job.done.value for job in jobs] == [False, True, False, True]


@pytest.mark.parametrize(("swap", "swaps"), [(3.0, 3), (0.0, 0)])
def test_requests_for_other_weights_wait_for_them(engine: Engine, swap: float, swaps: int) -> None:
    """A, B, A, B in turn swap three times; without a swap time they run together."""
    server = serving(engine, swap=swap, max_waiting=10)
    jobs = [server.submit(1, 1, variant) for variant in "ABAB"]
    engine.run(60.0)
    assert all(job.done.value for job in jobs)
    last = jobs[-1].queued_seconds
    assert last == pytest.approx(swaps * (swap + 1.0) if swap else 1.0)
    # Weights come over PCIe.
    carried = server.worker.gpus[0].state_at(60.0).pcie_bytes
    assert carried == pytest.approx(swaps * swap * 0.8 * MODELS["A100"].pcie_bandwidth)


def test_a_stopped_server_fails_its_requests(engine: Engine) -> None:
    """Those in flight, and every later one."""
    server = serving(engine)
    jobs = [server.submit(1) for _ in range(3)]
    server.stop()
    assert [job.done.value for job in (*jobs, server.submit(1))] == [False] * 4
