"""Sharing of a GPU against closed forms, in every sharing mode, for any sequence of starts and cancellations."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.simulator.hardware.conftest import MakeGpu, MakeWorker

from foreshock_simulator.core.engine import Engine, Process
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.hardware.gpu import Gpu
from foreshock_simulator.hardware.models import MODELS
from foreshock_simulator.hardware.worker import GpuWork, Task, Worker
from foreshock_simulator.spec.platform import Sharing

NAME = ServiceName("ml", "some-service")


def times(engine: Engine, tasks: list[Task], until: float = 1000.0) -> list[float]:
    """End times of tasks."""
    done = [math.inf] * len(tasks)

    def watch(index: int, task: Task) -> Process:
        if (yield task):
            done[index] = engine.now

    for index, task in enumerate(tasks):
        engine.spawn(watch(index, task))
    engine.run(until)
    return done


def test_work_alone_takes_its_stated_time(engine: Engine, make_gpu: MakeGpu, make_worker: MakeWorker) -> None:
    """On any GPU, for any channels."""
    work = GpuWork(2.0, sm=0.9, dram=0.7, tensor=0.2, nvlink=0.3, pcie=0.1, kernels=500.0)
    assert times(engine, [make_worker(make_gpu(model)).run(work) for model in MODELS]) == pytest.approx(
        [2.0] * len(MODELS)
    )


SECONDS: dict[str, Callable[[Random], float]] = {
    "exponential": lambda rng: rng.expovariate(1.0),
    "constant": lambda rng: 1.0,
    "hyperexponential": lambda rng: rng.expovariate(0.4 if rng.random() < 0.25 else 2.0),
}


@pytest.mark.parametrize("law", SECONDS)
@pytest.mark.parametrize("processes", [1, 3])
def test_full_use_is_processor_sharing(law: str, processes: int) -> None:
    """M/G/1-PS: the mean time is E[S] / (1 − ρ) for any distribution, within three standard errors."""
    engine, rng, rho = Engine(), Random(f"{law}/{processes}"), 0.6
    gpu = Gpu(engine, MODELS["H100"], "host-1", 0)
    sizes = [SECONDS[law](rng) for _ in range(20_000)]
    mean = sum(sizes) / len(sizes)
    took: list[float] = []

    def one(seconds: float) -> Process:
        # Each in a separate process, as far as there are some; within one, its streams share.
        worker = Worker([gpu], 1, NAME, 0.0) if processes > 1 else shared
        begun = engine.now
        yield worker.run(GpuWork(seconds, sm=1.0))
        took.append(engine.now - begun)
        if processes > 1:
            worker.stop()

    def arrive() -> Process:
        for seconds in sizes:
            yield rng.expovariate(rho / mean)
            engine.spawn(one(seconds))

    shared = Worker([gpu], 1, NAME, 0.0)
    engine.spawn(arrive())
    engine.run(1e6)
    batches = [sum(took[start : start + 1000]) / 1000 for start in range(0, 20_000, 1000)]
    center = sum(batches) / 20
    error = math.sqrt(sum((batch - center) ** 2 for batch in batches) / 19 / 20)
    assert center == pytest.approx(mean / (1.0 - rho), abs=3.0 * error)
    assert error < 0.06 * center


def test_small_demands_are_met_and_the_others_share_the_rest(
    engine: Engine, make_gpu: MakeGpu, make_worker: MakeWorker
) -> None:
    """Max-min fairness: a demand of 0.2 is met; the two with a demand of 1 have 0.4 each."""
    gpu = make_gpu("H100", "mps")
    workers = [make_worker(gpu) for _ in range(3)]
    for worker, sm in zip(workers, (0.2, 1.0, 1.0), strict=True):
        worker.run(GpuWork(1000.0, sm))
    engine.run(10.0)
    assert [worker.busy_seconds_at(10.0) for worker in workers] == pytest.approx([2.0, 4.0, 4.0])


@pytest.mark.parametrize(
    ("sharing", "slower"),
    [("time-slicing", True), ("mps", False)],
)
def test_only_time_slicing_delays_dispatches_by_a_neighbors_slice(
    engine: Engine, make_gpu: MakeGpu, make_worker: MakeWorker, sharing: Sharing, slower: bool
) -> None:
    """With time-slicing, work in a thousand small dispatches per second loses much more than its share."""
    gpu = make_gpu("H100", sharing)
    chatty, greedy = make_worker(gpu), make_worker(gpu)
    greedy.run(GpuWork(1000.0, sm=0.5))
    [took] = times(engine, [chatty.run(GpuWork(1.0, sm=0.3, kernels=1000.0))])
    assert (took > 1.3) is slower
    assert took >= 1.0


def test_under_mps_processes_contend_for_memory_bandwidth(
    engine: Engine, make_gpu: MakeGpu, make_worker: MakeWorker
) -> None:
    """Two processes with 0.4 of the SMs and 0.4 of the bandwidth each fit; with 0.8 of the bandwidth they do not."""
    for dram, slow in ((0.3, False), (0.8, True)):
        gpu = make_gpu("H100", "mps")
        took = times(
            engine, [make_worker(gpu).run(GpuWork(1.0, sm=0.4, dram=dram)) for _ in range(2)], engine.now + 10.0
        )
        assert (took[0] - engine.now + 10.0 > 1.5) is slow
        assert gpu.state_at(engine.now).dram_seconds == pytest.approx(2 * dram)


def test_processes_on_different_mig_instances_do_not_slow_each_other(
    engine: Engine, make_gpu: MakeGpu, make_worker: MakeWorker
) -> None:
    """The victim takes as long with the aggressor as without; on one instance it would not."""
    work = GpuWork(5.0, sm=0.4, dram=0.3, kernels=300.0)
    took = []
    for aggressor in (None, 1, 0):
        start = engine.now
        gpu = make_gpu("A100", "mig", (3, 4))
        victim = make_worker(gpu, instance=0)
        if aggressor is not None:
            make_worker(gpu, instance=aggressor).run(GpuWork(1000.0, sm=1.0, dram=0.9))
        [end] = times(engine, [victim.run(work)], start + 100.0)
        took.append(end - start)
    assert took[1] == pytest.approx(took[0], abs=1e-9)
    assert took[2] > 1.5 * took[0]


def test_a_mig_instance_is_slower_by_its_share(engine: Engine, make_gpu: MakeGpu, make_worker: MakeWorker) -> None:
    """Work that needs all SMs takes 7/3 of its time on three sevenths."""
    gpu = make_gpu("A100", "mig", (3, 4))
    assert times(engine, [make_worker(gpu, instance=0).run(GpuWork(3.0, sm=1.0))]) == [pytest.approx(7.0)]


def test_the_slowest_gpu_determines_the_speed_of_a_process_on_several(
    engine: Engine, make_gpu: MakeGpu, make_worker: MakeWorker
) -> None:
    """With a neighbor on one of two GPUs, work takes as long as there; on the other it holds the SMs and waits."""
    first, second = make_gpu(), make_gpu()
    both, neighbor = make_worker(first, second), make_worker(second)
    task = both.run(GpuWork(1.0, sm=1.0, nvlink=0.5))
    neighbor.run(GpuWork(1.0, sm=1.0))
    [took] = times(engine, [task])
    assert took == pytest.approx(2.0, rel=0.01)
    assert first.busy_seconds_at(engine.now) == pytest.approx(took)
    sent = [gpu.state_at(engine.now).nvlink_bytes for gpu in (first, second)]
    assert sent == pytest.approx([0.5 * MODELS["H100"].nvlink_bandwidth] * 2)


def test_a_slower_deploy_takes_as_many_times_as_long(
    engine: Engine, make_gpu: MakeGpu, make_worker: MakeWorker
) -> None:
    """Also for running work, from the change on; it holds the GPU for as long."""
    gpu = make_gpu()
    worker = make_worker(gpu)
    task = worker.run(GpuWork(2.0, sm=0.5))
    engine.schedule(1.0, lambda _: setattr(worker, "slowdown", 3.0))
    assert times(engine, [task]) == [pytest.approx(4.0)]
    assert gpu.busy_seconds_at(engine.now) == pytest.approx(2.0)


def test_cancelled_work_frees_its_share_at_once(engine: Engine, make_gpu: MakeGpu, make_worker: MakeWorker) -> None:
    """The other task continues at full speed; the signal fires with False; a second cancellation has no effect."""
    gpu = make_gpu()
    kept, lost = make_worker(gpu), make_worker(gpu)
    tasks = [kept.run(GpuWork(2.0, sm=1.0)), lost.run(GpuWork(9.0, sm=1.0))]
    engine.schedule(2.0, lambda _: lost.cancel(tasks[1]))
    engine.schedule(2.5, lambda _: lost.cancel(tasks[1]))
    assert times(engine, tasks) == [pytest.approx(3.0), math.inf]
    assert tasks[1].value is False
    assert lost.active == 0


def test_a_process_that_ends_leaves_nothing_behind(engine: Engine, make_gpu: MakeGpu, make_worker: MakeWorker) -> None:
    """Its tasks fail, its memory is free, and it runs no further work."""
    gpu = make_gpu()
    worker = make_worker(gpu, memory=70e9)
    task = worker.run(GpuWork(9.0, sm=1.0))
    engine.schedule(1.0, lambda _: worker.stop())
    assert times(engine, [task]) == [math.inf]
    assert worker.run(GpuWork(1.0, sm=1.0)).value is False
    state = gpu.state_at(engine.now)
    assert (state.memory_used_bytes, state.busy_seconds) == (0.0, 1.0)
    make_worker(gpu, memory=80e9)


def test_a_process_that_does_not_fit_in_memory_is_rejected(make_gpu: MakeGpu, make_worker: MakeWorker) -> None:
    """The message names the GPU and its free memory."""
    gpu = make_gpu()
    make_worker(gpu, memory=60e9)
    with pytest.raises(ValueError, match=r"host-1/gpu-0: a process needs 3e\+10 bytes of memory and .* are free"):
        make_worker(gpu, memory=30e9)


@pytest.mark.parametrize(
    ("model", "sharing", "slices", "message"),
    [
        ("L40S", "mig", (3, 4), "L40S has no MIG"),
        ("H100", "mig", (), "MIG instances require sharing mig"),
        ("H100", "mps", (3, 4), "MIG instances require sharing mig"),
        ("H100", "mig", (5, 2), r"not \[5, 2\]"),
        ("H100", "mig", (3, 3, 1), "do not fit on one GPU"),
    ],
)
def test_impossible_mig_instances_are_rejected(
    make_gpu: MakeGpu, model: str, sharing: Sharing, slices: tuple[int, ...], message: str
) -> None:
    """With the reason."""
    with pytest.raises(ValueError, match=message):
        make_gpu(model, sharing, slices)


starts = st.tuples(
    st.integers(0, 4),
    st.floats(0.0, 10.0),
    st.builds(
        GpuWork,
        seconds=st.floats(0.001, 3.0),
        sm=st.floats(0.01, 1.0),
        dram=st.floats(0.0, 1.0),
        tensor=st.floats(0.0, 1.0),
        nvlink=st.floats(0.0, 1.0),
        pcie=st.floats(0.0, 1.0),
        kernels=st.floats(0.0, 5000.0),
    ),
    st.one_of(st.none(), st.floats(0.0, 2.0)),
)


def run_plan(
    plan: list[tuple[int, float, GpuWork, float | None]], sharing: Sharing, cuts: list[float]
) -> tuple[list[Gpu], list[Worker], list[tuple[int, bool, float, float]]]:
    """Run a plan on two GPUs with five processes, one of them on both, and read at some times."""
    engine = Engine()
    slices = (3, 4) if sharing == "mig" else ()
    gpus = [Gpu(engine, MODELS["A100"], "host-1", index, sharing, slices) for index in range(2)]
    on = [gpus[:1], gpus[:1], gpus[1:], gpus[1:], gpus]
    workers = [Worker(some, pid, NAME, 0.0, pid % 2 if slices else None) for pid, some in enumerate(on)]
    ends = []

    def one(index: int, worker: Worker, start: float, work: GpuWork, patience: float | None) -> Process:
        yield start
        task = worker.run(work)
        if patience is not None:
            engine.schedule(engine.now + patience, lambda _: worker.cancel(task))
        begun = engine.now
        done = yield task
        ends.append((index, done, engine.now - begun, work.seconds))

    for index, (worker, start, work, patience) in enumerate(plan):
        engine.spawn(one(index, workers[worker], start, work, patience))
    for cut in sorted(cuts):
        engine.run(cut)
        for gpu in gpus:
            gpu.state_at(cut)
    engine.run(10_000.0)
    return gpus, workers, ends


@settings(max_examples=60, deadline=None)
@given(
    st.lists(starts, max_size=20),
    st.sampled_from(["time-slicing", "mps", "mig"]),
    st.lists(st.floats(0.0, 30.0), max_size=8),
)
def test_tasks_end_once_and_shares_add_up(
    plan: list[tuple[int, float, GpuWork, float | None]], sharing: Sharing, cuts: list[float]
) -> None:
    """Each task ends once and not early.

    Busy seconds of the processes add up to the GPUs'. No channel exceeds its capacity.

    Splitting a run to read it changes nothing, to the last bit.
    """
    gpus, workers, ends = run_plan(plan, sharing, cuts)
    assert sorted(index for index, *_ in ends) == list(range(len(plan)))
    assert all(took >= seconds - 1e-6 for _, done, took, seconds in ends if done)
    now = gpus[0].engine.now
    for gpu in gpus:
        held = sum(part.busy_seconds for worker in workers for part in worker.contexts if part.gpu is gpu)
        assert held == pytest.approx(gpu.busy_seconds_at(now), abs=1e-9)
        assert max(gpu.use) <= 1.0 + 1e-9
        state = gpu.state_at(now)
        assert max(state.busy_seconds, state.dram_seconds) <= now
        assert gpu.model.idle_watts * now <= state.energy_joules + 1e-6
        assert state.energy_joules <= gpu.model.limit_watts * now + 1e-6
    assert run_plan(plan, sharing, [])[2] == ends
