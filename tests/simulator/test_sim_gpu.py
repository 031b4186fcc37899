"""A GPU gives each process what it asks for while that fits, and a share in proportion where it does not."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_simulator.engine import Engine, Process
from foreshock_simulator.gpu import INTERFERENCE, MEMORY_BYTES, Gpu, Worker
from foreshock_simulator.machine import Machine
from foreshock_simulator.names import ServiceName

NAME = ServiceName("serving", "model")


def finishing(worker: Worker, seconds: float, intensity: float, log: list[float]) -> Process:
    yield worker.run(seconds, intensity)
    log.append(worker.gpu.engine.now)


def device() -> Gpu:
    return Gpu(Engine(), "host-1", 0)


def test_work_alone_takes_the_time_it_says_and_leaves_the_rest_of_the_gpu_idle() -> None:
    """Two seconds of work at intensity 0.5 take two seconds; the GPU was busy for the demand's share of them."""
    gpu = device()
    log: list[float] = []
    worker = Worker(gpu, 1, NAME, 0.0, 0.5, 0.0)
    gpu.engine.spawn(finishing(worker, 2.0, 0.5, log))
    gpu.engine.run(5.0)
    assert log == [pytest.approx(2.0)]
    assert gpu.busy_at(5.0) == pytest.approx(2.0 * (1.0 - math.exp(-0.5)))
    assert worker.busy_at(5.0) == pytest.approx(gpu.busy_at(5.0))


def test_two_hungry_processes_halve_each_other_and_interfere_besides() -> None:
    """Each gets half of the time, and pays for what the neighbour does to caches and memory."""
    gpu = device()
    log: list[float] = []
    for pid in (1, 2):
        gpu.engine.spawn(finishing(Worker(gpu, pid, NAME, 0.0, 0.5, 0.0), 1.0, 50.0, log))
    gpu.engine.run(10.0)
    assert log == [pytest.approx(2.0 * (1.0 + INTERFERENCE))] * 2


def test_a_neighbour_that_ends_gives_its_time_back_at_once() -> None:
    """Half a second of shared time makes half as much progress; the rest goes at full speed."""
    gpu = device()
    log: list[float] = []
    gpu.engine.spawn(finishing(Worker(gpu, 1, NAME, 0.0, 0.5, 0.0), 1.0, 50.0, log))
    gpu.engine.spawn(finishing(Worker(gpu, 2, NAME, 0.0, 0.5, 0.0), 0.25, 50.0, log))
    gpu.engine.run(10.0)
    shared = 0.25 * 2.0 * (1.0 + INTERFERENCE)
    assert log == [pytest.approx(shared), pytest.approx(shared + 0.75)]


def test_members_of_a_batch_slow_each_other_a_little() -> None:
    """Ten requests in one process take longer than one, and far less than ten."""
    gpu = device()
    log: list[float] = []
    worker = Worker(gpu, 1, NAME, 0.0, 0.5, 0.03)
    for _ in range(10):
        gpu.engine.spawn(finishing(worker, 1.0, 0.2, log))
    gpu.engine.run(10.0)
    assert log == [pytest.approx(1.0 + 0.03 * 9)] * 10


segments = st.tuples(
    st.integers(0, 3),
    st.floats(0.0, 20.0),
    st.floats(0.001, 3.0),
    st.floats(0.01, 5.0),
)


@given(st.lists(segments, max_size=25))
def test_shares_never_exceed_the_gpu_and_no_work_is_lost(plan: list[tuple[int, float, float, float]]) -> None:
    """Whatever is started: each segment ends once and not before its time; the processes' time sums to the GPU's."""
    gpu = device()
    workers = [Worker(gpu, pid, NAME, 0.0, 0.5, 0.02) for pid in range(4)]
    took: list[tuple[float, float]] = []

    def one(worker: Worker, start: float, seconds: float, intensity: float) -> Process:
        yield start
        begun = gpu.engine.now
        yield worker.run(seconds, intensity)
        took.append((seconds, gpu.engine.now - begun))

    for index, start, seconds, intensity in plan:
        gpu.engine.spawn(one(workers[index], start, seconds, intensity))
    before = 0.0
    for second in range(1, 1000):
        gpu.engine.run(float(second))
        assert 0.0 <= gpu.busy_at(float(second)) - before <= 1.0 + 1e-9
        before = gpu.busy_at(float(second))
    assert len(took) == len(plan)
    assert all(real >= alone - 1e-6 for alone, real in took)
    assert sum(worker.busy_at(999.0) for worker in workers) == pytest.approx(gpu.busy_at(999.0), abs=1e-6)


def test_a_worker_that_does_not_fit_in_memory_is_refused_by_name() -> None:
    """The message names the GPU and how much it holds."""
    machine = Machine(Engine(), "host-9")
    machine.start_worker(NAME, 3, MEMORY_BYTES * 0.7, 0.5, 0.0)
    with pytest.raises(ValueError, match="host-9/gpu-3"):
        machine.start_worker(NAME, 3, MEMORY_BYTES * 0.5, 0.5, 0.0)
