"""How long a step of a language model takes, and which channels of the GPU it uses.

A layer of a dense transformer reads its weights once a step and multiplies them with every token:

    t(T) = layer_seconds + √((bytes / bandwidth)² + (2 · weights · T / flops)²) + 12 · 2 · hidden · T / bandwidth

with the bandwidth and the FLOP/s that this kind of GPU reaches; the root stands for how well the two overlap, and 12
for the values of 16 bits per token and hidden unit that small kernels move. The constants are fitted to the kernel
times that Vidur measured (Agrawal et al., MLSys 2024) for Llama-2 7B and 70B on H100 and 7B on A100, one to eight
GPUs: docs/realism.md has the error. Attention is not in those tables: reading keys and values is bound by
bandwidth; over prompts it reaches half of the tensor cores' peak (FlashAttention-2, Dao 2023: 50 to 73 % on an A100).

Layers and width follow from the number of parameters, n = 12 · layers · hidden² with hidden = 128 · layers, which gives
33, 40 and 71 layers for 7, 13 and 70 billion (Llama-2 has 32, 40 and 80).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from foreshock_simulator.hardware.models import GpuModel
from foreshock_simulator.hardware.work import GpuWork

ELEMENTWISE: Final = 12.0
"""Values of 16 bits per token and hidden unit, as above."""
ATTENTION_EFFICIENCY: Final = 0.5
HOST_SECONDS: Final = 0.5e-3
"""What the server's CPU takes between two steps (scheduling, sampling); an assumption."""
REDUCE_SECONDS: Final = 8e-6
"""Latency of an all-reduce among GPUs of a host; an assumption."""
_VALUE_BYTES: Final = 2.0


def layer_seconds(gpu: GpuModel, weights: float, hidden: float, tokens: float, tensor_parallel: int = 1) -> float:
    """Seconds of one layer without attention and collectives: `weights` parameters over so many GPUs, `tokens` at once.

    The formula of this module's docstring.
    """
    bandwidth = gpu.dram_bandwidth * gpu.bandwidth_efficiency
    share = weights / tensor_parallel
    reading = _VALUE_BYTES * share / bandwidth
    multiplying = 2.0 * share * tokens / (gpu.flops * gpu.flops_efficiency)
    return (
        gpu.layer_seconds + math.hypot(reading, multiplying) + ELEMENTWISE * _VALUE_BYTES * hidden * tokens / bandwidth
    )


def stretch_seconds(first: float, later: float, steps: int) -> float:
    """Seconds of so many steps of which the first takes `first`, and each further one takes `later` longer."""
    return steps * (first + 0.5 * (steps - 1) * later)


def steps_within(first: float, later: float, seconds: float) -> int:
    """Whole steps of such a stretch that are done after so many seconds."""
    half = 0.5 * later
    linear = first - half
    root = math.sqrt(linear * linear + 4.0 * half * seconds)
    return int(2.0 * seconds / (linear + root))


class Steps:
    """The steps of one model on GPUs of one kind.

    Args:
        gpu: the kind.
        parameters: of the model, in billions; 16 bits each.
        kv_bytes_per_token: keys and values of one token over all layers.
        tensor_parallel: GPUs that the model is spread over.
    """

    __slots__ = ("_gpu", "_hidden", "_layers", "_linear", "_parameters", "_small", "_tensor_parallel", "_token_flops",
                 "kv_bytes", "kv_seconds", "weight_bytes")  # fmt: skip

    def __init__(self, gpu: GpuModel, parameters: float, kv_bytes_per_token: float, tensor_parallel: int) -> None:
        self._gpu, self._tensor_parallel = gpu, tensor_parallel
        self._parameters = parameters * 1e9
        self._layers = max(1, round(math.cbrt(self._parameters / (12.0 * 128.0**2))))
        self._hidden = 128.0 * self._layers
        self.weight_bytes = _VALUE_BYTES * self._parameters / tensor_parallel
        """On each GPU."""
        self.kv_bytes = kv_bytes_per_token / tensor_parallel
        """Of one token, on each GPU."""
        self.kv_seconds = self.kv_bytes / (gpu.dram_bandwidth * gpu.bandwidth_efficiency)
        """To read the keys and values of one token."""
        self._token_flops = 2.0 * self._parameters / tensor_parallel
        self._small = ELEMENTWISE * _VALUE_BYTES * self._hidden
        self._linear: dict[int, float] = {}

    def decode_seconds(self, requests: int, context: int) -> float:
        """One step of requests that generate, with `context` tokens before them in all. Each later one takes
        `requests · kv_seconds` more.
        """
        return self._without_attention(requests) + context * self.kv_seconds

    def seconds(self, requests: int, context: int, chunks: Sequence[tuple[int, int]]) -> float:
        """The same with parts of prompts in it: (tokens, those of the same prompt before them)."""
        tokens, pairs, before = requests, 0.0, context
        for chunk, earlier in chunks:
            tokens += chunk
            pairs += chunk * (earlier + 0.5 * chunk)
            before += earlier
        flops = 4.0 * self._layers * self._hidden * pairs / self._tensor_parallel
        return (
            self._without_attention(tokens)
            + before * self.kv_seconds
            + flops / (self._gpu.flops * ATTENTION_EFFICIENCY)
        )

    def work(self, seconds: float, steps: int, tokens: int, context: float) -> GpuWork:
        """So many like steps as work for a GPU: `seconds` in all, each of `tokens` after `context` others."""
        gpu, step = self._gpu, seconds / steps
        read = self.weight_bytes + context * self.kv_bytes + self._small * tokens * self._layers
        dram = read / (gpu.dram_bandwidth * step)
        tensor = self._token_flops * tokens / (gpu.flops * step)
        sm = 1.0 - HOST_SECONDS / step
        if dram > sm:
            dram = sm
        if tensor > 1.0:
            tensor = 1.0
        nvlink = pcie = 0.0
        if self._tensor_parallel > 1:
            sent = self._reduced(tokens) / step
            if gpu.nvlink_bandwidth:
                nvlink = min(1.0, sent / gpu.nvlink_bandwidth)
            else:
                pcie = min(1.0, sent / gpu.pcie_bandwidth)
        return GpuWork(seconds, sm, dram, tensor, nvlink, pcie, 1.0 / step)

    def _without_attention(self, tokens: int) -> float:
        known = self._linear.get(tokens)
        if known is not None:
            return known
        weights = self._parameters / self._layers
        layer = layer_seconds(self._gpu, weights, self._hidden, tokens, self._tensor_parallel)
        seconds = HOST_SECONDS + self._layers * layer
        if self._tensor_parallel > 1:
            link = self._gpu.nvlink_bandwidth or self._gpu.pcie_bandwidth
            seconds += 2 * self._layers * REDUCE_SECONDS + self._reduced(tokens) / link
        self._linear[tokens] = seconds
        return seconds

    def _reduced(self, tokens: int) -> float:
        """Bytes that each GPU sends in a step: two all-reduces a layer round a ring."""
        ring = 2.0 * (self._tensor_parallel - 1) / self._tensor_parallel
        return 2.0 * self._layers * ring * _VALUE_BYTES * self._hidden * tokens
