"""What every model server does: take requests, say what became of them, and count as real servers count."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from foreshock_simulator.core.engine import Engine, Signal

Timing = Literal[
    "time_to_first_token", "inter_token_latency", "request_time_per_output_token", "e2e_request_latency",
    "request_queue_time",
]  # fmt: skip
"""vLLM's histograms `vllm:<timing>_seconds`."""
_TOKEN_BOUNDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
_REQUEST_BOUNDS = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
BOUNDS: Mapping[Timing, tuple[float, ...]] = {
    "time_to_first_token": (
        0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560
    ),
    "inter_token_latency": _TOKEN_BOUNDS,
    "request_time_per_output_token": _TOKEN_BOUNDS,
    "e2e_request_latency": _REQUEST_BOUNDS,
    "request_queue_time": _REQUEST_BOUNDS,
}  # fmt: skip
"""Upper bounds (s) of the histograms' buckets, those of vLLM 0.11."""


class HistogramState(NamedTuple):
    """Observations by bucket, not cumulated, the last one above all bounds; their sum in seconds."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float


class Histogram:
    """Counts observations by bucket."""

    __slots__ = ("_bounds", "_counts", "_edges", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._edges = tuple(map(float, bounds))  # whole numbers among the bounds would be slow to compare
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float, count: int = 1) -> None:
        """Take note of so many observations of the same duration."""
        self._counts[bisect_left(self._edges, seconds)] += count
        self._sum += seconds * count

    def state(self) -> HistogramState:
        """What was observed so far."""
        return HistogramState(self._bounds, tuple(self._counts), self._sum)


class Job:
    """A request at a model server.

    `done` fires with True when it is finished, with False where it was refused (too many wait, or it can never fit),
    given up, or its server ended. Times in seconds since it was submitted; None until they are known.
    """

    __slots__ = (
        "done", "finish_step", "first_token_seconds", "generated_tokens", "left", "offset", "over", "preemptions",
        "prompt_tokens", "queued_seconds", "submitted", "target", "task", "told", "variant",
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
        # The server's own notes: see llm.py and batch_model.py.
        self.over = False
        self.target = self.left = self.prompt_tokens
        self.told = 0
        self.finish_step = -1
        self.offset = 0
        self.task: Signal | None = None

    def refuse(self) -> None:
        """It ends without an answer."""
        self.over = True
        self.done.fire(False)


@dataclass(frozen=True, slots=True)
class ModelStats:
    """What a model server's /metrics says, under vLLM's names without `vllm:`."""

    num_requests_running: int
    num_requests_waiting: int
    kv_cache_usage_ratio: float
    """`kv_cache_usage_perc`, which is a ratio."""
    num_preemptions_total: int
    prompt_tokens_total: int
    generation_tokens_total: int
    request_success_total: int
    histograms: Mapping[Timing, HistogramState]


class Tally:
    """The counters of a server."""

    __slots__ = ("generation_tokens", "histograms", "preemptions", "prompt_tokens", "success")

    def __init__(self) -> None:
        self.preemptions = self.prompt_tokens = self.generation_tokens = self.success = 0
        self.histograms: dict[Timing, Histogram] = {timing: Histogram(bounds) for timing, bounds in BOUNDS.items()}

    def finished(self, job: Job, now: float) -> None:
        """Count a request that got its whole answer."""
        seconds = now - job.submitted
        self.success += 1
        self.histograms["e2e_request_latency"].observe(seconds)
        if job.generated_tokens > 1 and job.first_token_seconds is not None:
            rest = (seconds - job.first_token_seconds) / (job.generated_tokens - 1)
            self.histograms["request_time_per_output_token"].observe(rest)

    def state(self, running: int, waiting: int, usage: float) -> ModelStats:
        """Everything as a server's /metrics has it."""
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
    """A server of one replica."""

    @property
    def load(self) -> int:
        """Requests that run or wait."""
        ...

    def submit(self, prompt_tokens: int, generated_tokens: int, variant: str = "") -> Job:
        """Take a request in, or refuse it: then the job's `done` has fired with False already.

        `variant`: the weights it needs, where the server holds one of several at a time.
        """
        ...

    def cancel(self, job: Job) -> None:
        """Give a request up; what it held is free at the next step."""
        ...

    def drain(self) -> Signal:
        """Refuse what comes from now on; the signal fires when nothing is left to do."""
        ...

    def stop(self) -> None:
        """End at once, with the process; requests under way fire with False."""
        ...

    def stats(self) -> ModelStats:
        """Its counters and gauges at this moment."""
        ...
