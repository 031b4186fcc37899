"""Parts common to all model servers: the interface, jobs and their queue, and counters and histograms as in vLLM."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from foreshock_simulator.core.engine import Engine, Signal

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

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float


class Histogram:
    """Counts observations by bucket."""

    __slots__ = ("_bounds", "_counts", "_edges", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._edges = tuple(map(float, bounds))  # integers compare more slowly
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float, count: int = 1) -> None:
        """Add `count` observations of the same duration."""
        self._counts[bisect_left(self._edges, seconds)] += count
        self._sum += seconds * count

    def state(self) -> HistogramState:
        """The observations so far."""
        return HistogramState(self._bounds, tuple(self._counts), self._sum)


class Job:
    """A request at a model server.

    `done` fires with True when it is finished, with False when it is rejected (full queue, or too large), cancelled, or
    its server stops. Times are seconds since submission; None until they are known.
    """

    __slots__ = (
        "done",
        "finish_step",
        "first_token_seconds",
        "generated_before_preemption",
        "generated_tokens",
        "left",
        "offset",
        "over",
        "preemptions",
        "prompt_tokens",
        "queued_seconds",
        "submitted",
        "target",
        "task",
        "variant",
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


class ServerCounters:
    """The counters and histograms of a server."""

    __slots__ = ("generation_tokens", "histograms", "preemptions", "prompt_tokens", "success")

    def __init__(self) -> None:
        self.preemptions = self.prompt_tokens = self.generation_tokens = self.success = 0
        self.histograms: dict[Timing, Histogram] = {
            timing: Histogram(bounds) for timing, bounds in BUCKET_BOUNDS.items()
        }

    def count_success(self, job: Job, now: float) -> None:
        """Count a finished request."""
        seconds = now - job.submitted
        self.success += 1
        self.histograms["e2e_request_latency"].observe(seconds)
        if job.generated_tokens > 1 and job.first_token_seconds is not None:
            per_token = (seconds - job.first_token_seconds) / (job.generated_tokens - 1)
            self.histograms["request_time_per_output_token"].observe(per_token)

    def stats(self, running: int, waiting: int, usage: float) -> ModelStats:
        """All values of the server's /metrics."""
        return ModelStats(
            num_requests_running=running,
            num_requests_waiting=waiting,
            kv_cache_usage_ratio=usage,
            num_preemptions_total=self.preemptions,
            prompt_tokens_total=self.prompt_tokens,
            generation_tokens_total=self.generation_tokens,
            request_success_total=self.success,
            histograms={timing: histogram.state() for timing, histogram in self.histograms.items()},
        )


class ModelServer(Protocol):
    """The model server of one replica."""

    @property
    def load(self) -> int:
        """Running and waiting requests."""
        ...

    def submit(self, prompt_tokens: int, generated_tokens: int, variant: str = "") -> Job:
        """Accept or reject a request; `done` of a rejected job has fired with False already.

        `variant`: the weights that it needs, for servers that hold one of several at a time.
        """
        ...

    def cancel(self, job: Job) -> None:
        """Cancel a request; its resources are free at the next step."""
        ...

    def drain(self) -> Signal:
        """Reject new requests from now on; the signal fires when no request is left."""
        ...

    def stop(self) -> None:
        """Stop at once, with the process; requests in flight fire with False."""
        ...

    def stats(self) -> ModelStats:
        """Counters and gauges at present."""
        ...


class JobQueue:
    """Requests in order of arrival. Cancelled requests are skipped."""

    __slots__ = ("_jobs", "count")

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self.count = 0
        """Waiting requests that are not cancelled."""

    def __iter__(self) -> Iterator[Job]:
        return (job for job in self._jobs if not job.over)

    def append(self, job: Job) -> None:
        """Add a request at the end."""
        self._jobs.append(job)
        self.count += 1

    def appendleft(self, job: Job) -> None:
        """Add a preempted request at the front."""
        self._jobs.appendleft(job)
        self.count += 1

    def discard_one(self) -> None:
        """Count the cancellation of a request in the queue."""
        self.count -= 1

    def head(self) -> Job | None:
        """The next request, or None."""
        jobs = self._jobs
        while jobs:
            if not jobs[0].over:
                return jobs[0]
            jobs.popleft()
        return None

    def popleft(self) -> None:
        """Remove the request that `head` returned."""
        self._jobs.popleft()
        self.count -= 1

    def clear(self) -> None:
        """Remove all requests."""
        self._jobs.clear()
        self.count = 0
