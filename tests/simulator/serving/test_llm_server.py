"""A language model server: batching, KV cache, preemption, cancellation; exact against a simulation of every step."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock_simulator.core.engine import Engine, Process
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.hardware.gpu import Gpu
from foreshock_simulator.hardware.models import MODELS
from foreshock_simulator.hardware.worker import GpuWork, Worker
from foreshock_simulator.serving import llm
from foreshock_simulator.serving.llm import LlmServer
from foreshock_simulator.serving.server import Job, ModelStats, Timing
from foreshock_simulator.serving.steps import StepTimes
from foreshock_simulator.spec.services import LlmSpec

NAME = ServiceName("serving", "llm-chat")
MakeServer = Callable[..., LlmServer]


def count(stats: ModelStats, timing: Timing) -> int:
    """Observations of a histogram."""
    return sum(stats.histograms[timing].counts)


def test_a_request_alone_takes_its_prompt_and_its_steps(engine: Engine, make_llm: MakeServer) -> None:
    """First token after the prompt; then each step reads one token of KV cache more than the one before."""
    server = make_llm()
    job = server.submit(1000, 101)
    engine.run(60.0)
    steps = StepTimes(MODELS["H100"], 13.0, 819_200.0, 1)
    prompt = steps.seconds(0, 0, [(1000, 0)])
    assert job.first_token_seconds == pytest.approx(prompt)
    generating = sum(steps.decode_seconds(1, 1000 + step) for step in range(100))
    stats = server.stats()
    assert job.done.value is True
    assert stats.histograms["e2e_request_latency"].sum == pytest.approx(prompt + generating)
    assert stats.histograms["inter_token_latency"].sum == pytest.approx(generating)
    assert (stats.prompt_tokens_total, stats.generation_tokens_total, stats.request_success_total) == (1000, 101, 1)
    assert stats.kv_cache_usage_ratio == 0.0


def test_new_requests_join_at_the_next_step(engine: Engine, make_llm: MakeServer) -> None:
    """An arrival during a step waits for its rest and no longer."""
    server = make_llm()
    first = server.submit(100, 400)
    engine.run(1.0)
    second = server.submit(100, 10)
    engine.run(30.0)
    step = StepTimes(MODELS["H100"], 13.0, 819_200.0, 1).decode_seconds(1, 500)
    assert first.queued_seconds == 0.0
    assert second.queued_seconds is not None
    assert 0.0 < second.queued_seconds < step
    assert (first.done.value, second.done.value) == (True, True)


def test_long_prompts_slow_down_generating_requests(engine: Engine, make_llm: MakeServer) -> None:
    """At the same request rate, prompts sixteen times as long multiply the time per output token."""
    pace = {}
    for tokens in (500, 8000):
        server, rng, start = make_llm(), Random(1), engine.now

        def users(server: LlmServer = server, rng: Random = rng, tokens: int = tokens, start: float = start) -> Process:
            while engine.now < start + 60.0:
                yield rng.expovariate(2.5)
                server.submit(tokens, 100)

        engine.spawn(users())
        engine.run(start + 60.0)
        latency = server.stats().histograms["inter_token_latency"]
        pace[tokens] = latency.sum / sum(latency.counts)
    assert pace[8000] > 3.0 * pace[500]


def test_a_prompt_longer_than_the_budget_of_a_step_is_computed_in_parts(engine: Engine, make_llm: MakeServer) -> None:
    """Generating requests get a token with every part."""
    server = make_llm(max_batched_tokens=1024)
    other = server.submit(10, 1000)
    engine.run(1.0)
    before = server.stats().generation_tokens_total
    job = server.submit(10_000, 1)
    engine.run(30.0)
    parts = math.ceil(10_000 / 1023)
    assert job.first_token_seconds is not None
    assert other.done.value is True
    assert job.first_token_seconds > parts * 0.02
    assert server.stats().generation_tokens_total - before >= parts


def test_a_full_cache_preempts_the_last_admitted_request(engine: Engine, make_llm: MakeServer) -> None:
    """Its tokens are recomputed and all are generated. Others are not delayed, and the cache never overflows."""
    server = make_llm(blocks=100)
    jobs = [server.submit(300, 600) for _ in range(4)]
    usage = []
    for tick in range(1, 600):
        engine.run(tick * 0.1)
        usage.append(server.stats().kv_cache_usage_ratio)
    stats = server.stats()
    assert stats.num_preemptions_total > 0
    assert stats.num_preemptions_total == sum(job.preemptions for job in jobs)
    assert jobs[0].preemptions == 0
    assert max(usage) <= 1.0
    assert max(usage) > 0.9
    assert all(job.done.value is True for job in jobs)
    assert stats.generation_tokens_total == 4 * 600
    assert stats.prompt_tokens_total == 4 * 300
    assert (usage[-1], stats.num_requests_running, stats.num_requests_waiting) == (0.0, 0, 0)


@pytest.mark.parametrize(("changed", "running"), [({"max_sequences": 3}, 3), ({"blocks": 150}, 2)])
def test_requests_without_slot_or_blocks_wait(
    engine: Engine, make_llm: MakeServer, changed: dict[str, int], running: int
) -> None:
    """They are served in order."""
    server = make_llm(**changed)
    jobs = [server.submit(1000, 20) for _ in range(5)]
    engine.run(0.1)
    stats = server.stats()
    assert (stats.num_requests_running, stats.num_requests_waiting) == (running, 5 - running)
    engine.run(60.0)
    queued = [job.queued_seconds for job in jobs]
    assert queued == sorted(queued, key=lambda seconds: seconds or 0.0)
    assert queued[-1] is not None
    assert queued[-1] > 0.0


def test_too_large_requests_and_full_queues_are_rejected(engine: Engine, make_llm: MakeServer) -> None:
    """At once, with False."""
    server = make_llm(blocks=100, max_waiting=1)
    assert server.submit(1500, 200).done.value is False
    jobs = [server.submit(1400, 100) for _ in range(3)]
    assert [job.done.fired for job in jobs] == [False, False, True]
    engine.run(60.0)
    assert [job.done.value for job in jobs] == [True, True, False]


def test_a_cancelled_request_frees_its_blocks_after_the_current_step(engine: Engine, make_llm: MakeServer) -> None:
    """Waiting, in its prompt, or generating; a second cancellation has no effect."""
    server = make_llm(max_sequences=2, max_batched_tokens=512)
    generating = server.submit(100, 5000)
    engine.run(1.0)
    prompting = server.submit(50_000, 100)
    waiting = server.submit(100, 100)
    engine.run(1.5)
    assert server.load == 3
    for job in (waiting, prompting, generating):
        server.cancel(job)
        server.cancel(job)
    engine.run(1.6)
    stats = server.stats()
    assert (server.load, stats.num_requests_running, stats.kv_cache_usage_ratio) == (0, 0, 0.0)
    assert [job.done.value for job in (waiting, prompting, generating)] == [False] * 3
    assert server.submit(100, 10).done.fired is False
    engine.run(10.0)
    assert server.stats().request_success_total == 1


def test_a_stopped_server_fails_all_its_requests(engine: Engine, make_llm: MakeServer) -> None:
    """Running and waiting requests, and later ones."""
    server = make_llm(max_sequences=1)
    jobs = [server.submit(100, 1000) for _ in range(3)]
    engine.run(1.0)
    server.stop()
    jobs.append(server.submit(1, 1))
    engine.run(100.0)
    assert [job.done.value for job in jobs] == [False] * 4
    assert server.load == 0


def test_a_neighbor_on_the_gpu_slows_every_step(engine: Engine, make_llm: MakeServer) -> None:
    """A noisy tenant takes half of the time, so tokens take at least twice as long."""
    pace = []
    for greedy in (False, True):
        start, server = engine.now, make_llm(memory_share=0.8)
        if greedy:
            Worker(server.worker.gpus, 2, NAME, 1e9).run(GpuWork(1e6, sm=1.0, dram=0.5, kernels=100.0))
        server.submit(1000, 200)
        engine.run(start + 100.0)
        pace.append(server.stats().histograms["request_time_per_output_token"].sum)
    assert pace[1] > 1.9 * pace[0]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"parameters": 70.0}, r"1.4e\+11 bytes of weights a GPU .* raise memory_share or tensor_parallel"),
        ({"memory_share": 0.2}, "raise memory_share or tensor_parallel"),
    ],
)
def test_a_model_that_does_not_fit_is_rejected(make_llm: MakeServer, changed: dict[str, float], message: str) -> None:
    """With its size and a remedy."""
    with pytest.raises(ValueError, match=message):
        make_llm(**changed)


def test_a_model_for_several_gpus_needs_exactly_as_many(engine: Engine) -> None:
    """The message states the number of GPUs."""
    worker = Worker([Gpu(engine, MODELS["H100"], "host-1", 0)], 1, NAME, 70e9)
    with pytest.raises(ValueError, match="runs on 2 GPUs at once; its process has 1"):
        LlmServer(engine, LlmSpec("llama-13b", tensor_parallel=2), worker)


requests = st.lists(
    st.tuples(st.floats(0.0, 5.0), st.integers(1, 900), st.integers(1, 200), st.one_of(st.none(), st.floats(0.0, 3.0))),
    max_size=12,
)


def run_requests(plan: list[tuple[float, int, int, float | None]], longest: int) -> tuple[list[Job], LlmServer]:
    """Run requests at a server with a small cache, in runs of up to `steps` steps."""
    engine = Engine()
    gpus = [Gpu(engine, MODELS["H100"], "host-1", index) for index in range(2)]
    spec = LlmSpec("llama-13b", tensor_parallel=2, max_sequences=6, max_batched_tokens=512)
    weights = 13e9
    server = LlmServer(engine, spec, Worker(gpus, 1, NAME, weights + 2e9 + 120.5 * 16 * 409_600.0))
    jobs: list[Job] = []

    def one(start: float, prompt: int, generated: int, patience: float | None) -> Process:
        yield start
        job = server.submit(prompt, generated)
        jobs.append(job)
        if patience is not None:
            engine.schedule(engine.now + patience, lambda _: server.cancel(job))

    for request in sorted(plan, key=lambda request: request[0]):
        engine.spawn(one(*request))
    before, llm.MAX_RUN_STEPS = llm.MAX_RUN_STEPS, longest  # type: ignore[misc]
    try:
        engine.run(1000.0)
    finally:
        llm.MAX_RUN_STEPS = before  # type: ignore[misc]
    return jobs, server


@settings(max_examples=60, deadline=None)
@given(requests)
def test_runs_of_steps_equal_single_steps(plan: list[tuple[float, int, int, float | None]]) -> None:
    """Every request ends once, and nothing is left over; a simulation of single steps gives the same times."""
    jobs, server = run_requests(plan, 128)
    stats = server.stats()
    assert all(job.done.fired for job in jobs)
    assert (server.load, stats.kv_cache_usage_ratio) == (0, 0.0)
    served = [job for job in jobs if job.done.value]
    assert stats.request_success_total == len(served) == count(stats, "e2e_request_latency")
    assert stats.generation_tokens_total >= sum(job.generated_tokens for job in served)
    single, other = run_requests(plan, 1)
    assert [job.done.value for job in single] == [job.done.value for job in jobs]
    for timing in ("queued_seconds", "first_token_seconds", "preemptions"):
        assert [getattr(job, timing) for job in single] == pytest.approx([getattr(job, timing) for job in jobs])
    assert other.stats().generation_tokens_total == stats.generation_tokens_total
    busy = [one.worker.gpus[0].busy_seconds_at(1000.0) for one in (server, other)]
    assert busy[0] == pytest.approx(busy[1], rel=1e-3)
