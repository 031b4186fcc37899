"""Duration of a step of a language model, and its use of GPU channels.

A layer of a dense transformer reads its weights once per step and multiplies them with every token:

    t(T) = layer_seconds + √((bytes / bandwidth)² + (2 · weights · T / flops)²) + 12 · 2 · hidden · T / bandwidth

with the bandwidth and FLOP/s that the kind of GPU reaches. The root models the overlap of the two; 12 is the number of
16-bit values per token and hidden unit that small kernels move. The constants are fitted to kernel times of Vidur
(Agrawal et al., MLSys 2024) for Llama-2 7B and 70B on H100 and 7B on A100, on one to eight GPUs;
docs/internals/realism.md states the error. Attention is not in those tables: reading the KV cache is bound by
bandwidth, and attention over prompts reaches half of the tensor cores' peak
(FlashAttention-2, Dao 2023: 50% to 73% on an A100).

Layers and width follow from the number of parameters, n = 12 · layers · hidden² with hidden = 128 · layers. This gives
33, 40 and 71 layers for 7, 13 and 70 billion (Llama-2 has 32, 40 and 80).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from foreshock_simulator.core.engine import Engine
from foreshock_simulator.hardware.models import GpuModel
from foreshock_simulator.hardware.worker import GpuWork, Task, Worker

ELEMENTWISE_VALUES: Final = 12.0
"""16-bit values per token and hidden unit that small kernels move."""
ATTENTION_EFFICIENCY_RATIO: Final = 0.5
"""Share of the tensor cores' peak that attention over prompts reaches."""
HOST_SECONDS: Final = 0.5e-3
"""CPU time of the server between two steps (scheduling, sampling); an assumption."""
ALL_REDUCE_SECONDS: Final = 8e-6
"""Latency of an all-reduce among GPUs of a host; an assumption."""
_VALUE_BYTES: Final = 2.0


def layer_seconds(gpu: GpuModel, weights: float, hidden: float, tokens: float, tensor_parallel: int = 1) -> float:
    """Seconds of one layer without attention and collectives, by the formula of the module docstring.

    Its `weights` (parameters) are split over `tensor_parallel` GPUs. `hidden` is the width of the model.
    """
    bandwidth = gpu.dram_bandwidth * gpu.bandwidth_efficiency
    share = weights / tensor_parallel
    reading = _VALUE_BYTES * share / bandwidth
    multiplying = 2.0 * share * tokens / (gpu.flops * gpu.flops_efficiency)
    return (
        gpu.layer_seconds
        + math.hypot(reading, multiplying)
        + ELEMENTWISE_VALUES * _VALUE_BYTES * hidden * tokens / bandwidth
    )


def run_seconds(first: float, increment: float, steps: int) -> float:
    """Seconds of `steps` steps. The first takes `first`, and each further one `increment` more than the one before."""
    return steps * (first + 0.5 * (steps - 1) * increment)


def steps_within(first: float, increment: float, seconds: float) -> int:
    """Whole steps of such a run that are completed after `seconds`."""
    half = 0.5 * increment
    linear = first - half
    root = math.sqrt(linear * linear + 4.0 * half * seconds)
    return int(2.0 * seconds / (linear + root))


class StepTimes:
    """Step times of one model with `parameters` billions of 16 bits, split over `tensor_parallel` GPUs of one kind."""

    def __init__(self, gpu: GpuModel, parameters: float, kv_bytes_per_token: float, tensor_parallel: int) -> None:
        self._gpu, self._tensor_parallel = gpu, tensor_parallel
        self._parameters = parameters * 1e9
        self._layers = max(1, round(math.cbrt(self._parameters / (12.0 * 128.0**2))))
        self._hidden = 128.0 * self._layers
        self.weight_bytes = _VALUE_BYTES * self._parameters / tensor_parallel
        """Weights on each GPU."""
        self.kv_bytes = kv_bytes_per_token / tensor_parallel
        """KV cache of one token on each GPU."""
        self.kv_seconds = self.kv_bytes / (gpu.dram_bandwidth * gpu.bandwidth_efficiency)
        """Time to read the KV cache of one token."""
        self._token_flops = 2.0 * self._parameters / tensor_parallel
        self._elementwise_bytes = ELEMENTWISE_VALUES * _VALUE_BYTES * self._hidden
        self._seconds_by_tokens: dict[int, float] = {}

    def decode_seconds(self, requests: int, context: int) -> float:
        """Duration of one decode step of `requests` requests with `context` tokens in all.

        Each further step takes `requests · kv_seconds` more.
        """
        return self._without_attention(requests) + context * self.kv_seconds

    def seconds(self, requests: int, context: int, chunks: Sequence[tuple[int, int]]) -> float:
        """Duration of a step that also computes parts of prompts: (tokens, earlier tokens of the same prompt)."""
        tokens, pairs, context_tokens = requests, 0.0, context
        for chunk, earlier in chunks:
            tokens += chunk
            pairs += chunk * (earlier + 0.5 * chunk)
            context_tokens += earlier
        flops = 4.0 * self._layers * self._hidden * pairs / self._tensor_parallel
        return (
            self._without_attention(tokens)
            + context_tokens * self.kv_seconds
            + flops / (self._gpu.flops * ATTENTION_EFFICIENCY_RATIO)
        )

    def work(self, seconds: float, steps: int, tokens: int, context: float) -> GpuWork:
        """GPU work of `steps` similar steps: `seconds` in all, each with `tokens` new tokens after `context` others."""
        gpu, step = self._gpu, seconds / steps
        read = self.weight_bytes + context * self.kv_bytes + self._elementwise_bytes * tokens * self._layers
        dram = read / (gpu.dram_bandwidth * step)
        tensor = self._token_flops * tokens / (gpu.flops * step)
        sm = 1.0 - HOST_SECONDS / step
        if dram > sm:
            dram = sm
        if tensor > 1.0:
            tensor = 1.0
        nvlink = pcie = 0.0
        if self._tensor_parallel > 1:
            sent_bytes_per_second = self._all_reduce_bytes(tokens) / step
            if gpu.nvlink_bandwidth:
                nvlink = min(1.0, sent_bytes_per_second / gpu.nvlink_bandwidth)
            else:
                pcie = min(1.0, sent_bytes_per_second / gpu.pcie_bandwidth)
        return GpuWork(seconds, sm, dram, tensor, nvlink, pcie, 1.0 / step)

    def _without_attention(self, tokens: int) -> float:
        cached = self._seconds_by_tokens.get(tokens)
        if cached is not None:
            return cached
        weights = self._parameters / self._layers
        layer = layer_seconds(self._gpu, weights, self._hidden, tokens, self._tensor_parallel)
        seconds = HOST_SECONDS + self._layers * layer
        if self._tensor_parallel > 1:
            link = self._gpu.nvlink_bandwidth or self._gpu.pcie_bandwidth
            seconds += 2 * self._layers * ALL_REDUCE_SECONDS + self._all_reduce_bytes(tokens) / link
        self._seconds_by_tokens[tokens] = seconds
        return seconds

    def _all_reduce_bytes(self, tokens: int) -> float:
        """Bytes that each GPU sends in a step: two all-reduces per layer around a ring."""
        ring = 2.0 * (self._tensor_parallel - 1) / self._tensor_parallel
        return 2.0 * self._layers * ring * _VALUE_BYTES * self._hidden * tokens


class StepRun:
    """The current work of a server: one step with parts of prompts, or a run of decode steps.

    While the set of requests does not change, each decode step takes requests · kv_seconds longer than the one before.
    So the end of any number of steps, and the step at any time, have a closed form.

    `steps` and `begun` are the number of steps and the start of the current run, or of the last one.
    """

    def __init__(self, engine: Engine, worker: Worker, times: StepTimes) -> None:
        self._engine, self._worker, self._times = engine, worker, times
        self._task: Task | None = None
        self._first = self._increment = 0.0
        self.steps, self.begun = 0, 0.0

    @property
    def idle(self) -> bool:
        """Whether no work is in progress."""
        return self._task is None

    def prefill(self, count: int, context: int, parts: Sequence[tuple[int, int]], end: Callable[[], None]) -> None:
        """Run one step that gives `count` requests a token and computes parts of prompts: (tokens, earlier tokens).

        `context`: tokens that the requests hold. `end` is called at the end of the step, and calls `finish`.
        """
        self._first = seconds = self._times.seconds(count, context, parts)
        tokens = count
        for part_tokens, earlier in parts:
            tokens += part_tokens
            context += earlier
        self._run(1, seconds, tokens, context, end)

    def decode(self, count: int, context: int, steps: int, end: Callable[[], None]) -> None:
        """Run a number of steps, each of which gives `count` requests a token."""
        self._first = self._times.decode_seconds(count, context)
        self._increment = count * self._times.kv_seconds
        self._run(steps, run_seconds(self._first, self._increment, steps), count, context + count * steps // 2, end)

    def finish(self) -> None:
        """Mark the run as finished, or its process as ended."""
        self._task = None

    def completed(self) -> int:
        """Completed whole steps; never the last, which ends the run."""
        if self._task is None or self.steps == 1:
            return 0
        seconds = self._worker.completed_seconds(self._task)
        return min(self.steps - 1, steps_within(self._first, self._increment, seconds))

    def end_with_current_step(self) -> None:
        """Shorten the run to its current step."""
        task = self._task
        if task is None or self.steps == 1:
            return
        steps = self.completed() + 1
        if steps < self.steps:
            self.steps = steps
            self._worker.shorten(task, run_seconds(self._first, self._increment, steps))

    def _run(self, steps: int, seconds: float, tokens: int, context: int, end: Callable[[], None]) -> None:
        self.steps, self.begun = steps, self._engine.now
        self._task = self._worker.run(self._times.work(seconds, steps, tokens, context), end)
