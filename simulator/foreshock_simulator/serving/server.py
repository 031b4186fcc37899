"""Parts common to all model servers: jobs, queue, draining, memory, and counters and histograms as in vLLM."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from foreshock_simulator.core.engine import Engine, Signal
from foreshock_simulator.hardware.gpu import Gpu
from foreshock_simulator.hardware.worker import Worker
from foreshock_simulator.spec.services import LlmSpec, ModelSpec

Timing = Literal[
    "time_to_first_token", "inter_token_latency", "request_time_per_output_token", "e2e_request_latency",
    "request_queue_time",
]  # fmt: skip
"""Names of vLLM's histograms, `vllm:<name>_seconds`."""
_TOKEN_BUCKET_BOUNDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
_REQUEST_BUCKET_BOUNDS = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
BUCKET_BOUNDS: Mapping[Timing, tuple[float, ...]] = {
    "time_to_first_token": (
        0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560
    ),
    "inter_token_latency": _TOKEN_BUCKET_BOUNDS,
    "request_time_per_output_token": _TOKEN_BUCKET_BOUNDS,
    "e2e_request_latency": _REQUEST_BUCKET_BOUNDS,
    "request_queue_time": _REQUEST_BUCKET_BOUNDS,
}  # fmt: skip
"""Upper bounds of the histogram buckets in seconds, as in vLLM 0.11."""


class HistogramState(NamedTuple):
    """Observations per bucket (not cumulative; the last one is above all bounds), and their sum in seconds."""

    counts: tuple[int, ...]
    sum: float


class Histogram:
    """Counts observations by bucket."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._edges = tuple(map(float, bounds))  # integers compare more slowly
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float, count: int = 1) -> None:
        """Add `count` observations of the same duration."""
        self._counts[bisect_left(self._edges, seconds)] += count
        self._sum += seconds * count

    def state(self) -> HistogramState:
        """The observations so far."""
        return HistogramState(tuple(self._counts), self._sum)


class Job:
    """A request at a model server.

    `done` fires with True when it is finished, with False when it is rejected (full queue, or too large), cancelled, or
    its server stops. Times are seconds since submission; None until they are known.
    """

    __slots__ = (
        "done", "finish_step", "first_token_seconds", "generated_before_preemption", "generated_tokens", "left",
        "offset", "over", "preemptions", "prompt_tokens", "queued_seconds", "submitted", "target", "task", "variant",
    )  # fmt: skip

    def __init__(self, engine: Engine, prompt_tokens: int, generated_tokens: int, variant: str = "") -> None:
        self.variant = variant
        self.done = Signal(engine)
        self.submitted = engine.now
        self.prompt_tokens = prompt_tokens or 1
        self.generated_tokens = generated_tokens or 1
        self.queued_seconds: float | None = None
        self.first_token_seconds: float | None = None
        self.preemptions = 0
        # State kept by the server: tokens to hold, tokens left to compute, and the step at which the job finishes.
        self.over = False
        self.target = self.left = self.prompt_tokens
        self.generated_before_preemption = 0
        self.finish_step = -1
        self.offset = 0
        self.task: Signal | None = None

    def reject(self) -> None:
        """End without an answer."""
        self.over = True
        self.done.fire(False)


@dataclass(frozen=True, slots=True)
class ModelStats:
    """The values of a model server's /metrics, named as in vLLM without `vllm:`."""

    num_requests_running: int
    num_requests_waiting: int
    kv_cache_usage_ratio: float
    """vLLM's `kv_cache_usage_perc`, which is a ratio."""
    num_preemptions_total: int
    prompt_tokens_total: int
    generation_tokens_total: int
    request_success_total: int
    histograms: Mapping[Timing, HistogramState]


class ModelServer(ABC):
    """The model server of one replica, with its counters and histograms."""

    def __init__(self, engine: Engine, worker: Worker) -> None:
        self._engine, self.worker = engine, worker
        self._waiting: OrderedDict[Job, None] = OrderedDict()  # in order of arrival, preempted requests first
        self._running: dict[Job, None] = {}  # in order of admission
        self._preemptions = self._prompt_tokens = self._generation_tokens = self._success = 0
        self._histograms = {timing: Histogram(bounds) for timing, bounds in BUCKET_BOUNDS.items()}

    @property
    def load(self) -> int:
        """Running and waiting requests."""
        return len(self._running) + len(self._waiting)

    @abstractmethod
    def submit(self, prompt_tokens: int, generated_tokens: int, variant: str = "") -> Job:
        """Accept or reject a request; `done` of a rejected job has fired with False already.

        `variant`: the weights that it needs, for servers that hold one of several at a time.
        """

    @abstractmethod
    def cancel(self, job: Job) -> None:
        """Cancel a request; its resources are free at the next step."""

    def stop(self) -> None:
        """Stop at once, with the process; requests in flight fire with False."""
        self.worker.stop()
        for job in (*self._running, *self._waiting):
            job.reject()
        self._running.clear()
        self._waiting.clear()

    def stats(self) -> ModelStats:
        """Counters and gauges at present."""
        return ModelStats(
            num_requests_running=len(self._running),
            num_requests_waiting=len(self._waiting),
            kv_cache_usage_ratio=self._kv_cache_usage(),
            num_preemptions_total=self._preemptions,
            prompt_tokens_total=self._prompt_tokens,
            generation_tokens_total=self._generation_tokens,
            request_success_total=self._success,
            histograms={timing: histogram.state() for timing, histogram in self._histograms.items()},
        )

    def _kv_cache_usage(self) -> float:
        return 0.0

    def _admit(self, job: Job) -> None:
        """Let a request run; the time in the queue is that until its first admission."""
        self._running[job] = None
        if job.queued_seconds is None:
            job.queued_seconds = self._engine.now - job.submitted
            self._histograms["request_queue_time"].observe(job.queued_seconds)

    def _succeed(self, job: Job) -> None:
        """End a running request with its answer."""
        del self._running[job]
        job.over = True
        self._success += 1
        seconds = self._engine.now - job.submitted
        self._histograms["e2e_request_latency"].observe(seconds)
        if job.generated_tokens > 1 and job.first_token_seconds is not None:
            per_token = (seconds - job.first_token_seconds) / (job.generated_tokens - 1)
            self._histograms["request_time_per_output_token"].observe(per_token)
        job.done.fire(True)


def memory_bytes(spec: ModelSpec, gpu: Gpu, slice: int | None = None) -> float:  # noqa: A002 - the word of MIG
    """Memory that the server of a model takes on each of its GPUs, or on the MIG instance `slice` of each."""
    if not isinstance(spec, LlmSpec):
        return spec.memory_bytes
    model = gpu.model
    available = model.memory_bytes - model.reserved_bytes
    return spec.memory_share * (available if slice is None else gpu.instances[slice].memory_bytes)
