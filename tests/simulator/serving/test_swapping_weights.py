"""A model server that holds the weights of one variant at a time."""

from __future__ import annotations

import pytest

from foreshock_simulator.core.engine import Engine
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.hardware.gpu import Gpu
from foreshock_simulator.hardware.models import MODELS
from foreshock_simulator.hardware.worker import Worker
from foreshock_simulator.serving.batch_model import BatchServer
from foreshock_simulator.serving.server import Job
from foreshock_simulator.spec.services import BatchModelSpec

SWAP = 4.0
SECONDS = 0.1


def server(swap: float = SWAP) -> tuple[Engine, BatchServer]:
    """A server of a model whose requests take a tenth of a second, alone on an H100."""
    engine = Engine()
    gpu = Gpu(engine, MODELS["H100"], "host-1", 0)
    worker = Worker((gpu,), 1, ServiceName("serving", "embedder"), 8e9)
    return engine, BatchServer(engine, BatchModelSpec("embed", SECONDS, sm=0.1, dram=0.1, swap=swap), worker)


def end_times(engine: Engine, jobs: list[Job]) -> list[float]:
    """End times with a resolution of 10 ms; infinite for unfinished ones."""
    found = [float("inf")] * len(jobs)
    for tick in range(3000):
        engine.run(tick / 100)
        for number, job in enumerate(jobs):
            if job.done.fired and found[number] == float("inf"):
                found[number] = tick / 100
    return found


def test_another_variant_waits_until_its_weights_are_loaded() -> None:
    """Later requests wait behind it, for two swaps."""
    engine, serving = server()
    jobs = [serving.submit(1, 1, variant) for variant in ("a", "b", "a")]

    first, second, third = end_times(engine, jobs)

    assert first == pytest.approx(SECONDS, abs=0.02)
    assert second == pytest.approx(first + SWAP + SECONDS, rel=0.05)
    assert third == pytest.approx(second + SWAP + SECONDS, rel=0.05)


def test_requests_of_one_variant_run_together() -> None:
    """After one swap for all of them."""
    engine, serving = server()
    jobs = [serving.submit(1, 1, variant) for variant in "abbb"]

    _, *others = end_times(engine, jobs)

    assert others == pytest.approx([SECONDS + SWAP + SECONDS] * 3, rel=0.05)


def test_without_a_swap_variants_do_not_matter() -> None:
    """All weights are loaded."""
    engine, serving = server(swap=0.0)
    jobs = [serving.submit(1, 1, variant) for variant in "abab"]

    assert end_times(engine, jobs) == pytest.approx([SECONDS] * 4, abs=0.02)


def test_a_cancellation_during_a_swap_delays_no_other_request() -> None:
    """The swap completes, and the next request in the queue decides."""
    engine, serving = server()
    jobs = [serving.submit(1, 1, variant) for variant in ("a", "b", "a")]
    engine.run(1.0)
    serving.cancel(jobs[1])

    first, _, third = end_times(engine, jobs)

    assert jobs[2].done.value is True
    assert third == pytest.approx(first + 2 * SWAP + SECONDS, rel=0.05)
    assert serving.load == 0
