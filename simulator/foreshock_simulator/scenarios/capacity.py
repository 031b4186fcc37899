"""What a replica of a language model can serve: for setting traffic as a share of it, and an autoscaler's target."""

from __future__ import annotations

from typing import NamedTuple

from foreshock_simulator.hardware.models import MODELS, GpuModel
from foreshock_simulator.spec.services import LlmSpec
from foreshock_simulator.spec.traffic import Tokens


class Mix(NamedTuple):
    """Mean tokens of a request."""

    prompt: float
    generated: float


MIXES: dict[Tokens, Mix] = {
    "azure-conversation": Mix(1155.0, 211.0),
    "azure-code": Mix(2048.0, 28.0),
    "mooncake": Mix(12_035.0, 343.0),
}
"""Means of the traces."""


class Pace(NamedTuple):
    """Seconds of a replica for one request's prompt, and for a step of decoding: alone, and for each sequence more."""

    prompt: float
    step: float
    sequence: float


def pace(spec: LlmSpec, gpu: GpuModel, mix: Mix) -> Pace:
    """Reading weights and keys and values at the memory's bandwidth, 2 FLOP a parameter and token of the prompt."""
    bandwidth = gpu.dram_bandwidth * gpu.bandwidth_efficiency * spec.tensor_parallel
    flops = gpu.flops * gpu.flops_efficiency * spec.tensor_parallel
    context = mix.prompt + mix.generated / 2
    return Pace(
        2e9 * spec.parameters * mix.prompt / flops,
        2e9 * spec.parameters / bandwidth + LAYERS * gpu.layer_seconds,
        spec.kv_bytes_per_token * context / bandwidth,
    )


LAYERS = 40
"""Of a model of 13 billion parameters; others have not much fewer or more."""


def sequences(spec: LlmSpec, gpu: GpuModel, mix: Mix) -> float:
    """Requests that a replica works on at once, as far as memory for keys and values goes."""
    free = spec.tensor_parallel * spec.memory_share * gpu.memory_bytes - 2e9 * spec.parameters
    return max(1.0, min(spec.max_sequences, free / (spec.kv_bytes_per_token * (mix.prompt + mix.generated / 2))))


def rate(spec: LlmSpec, gpu_model: str, mix: Mix) -> float:
    """Requests a second that a replica can serve, in the mean."""
    gpu = MODELS[gpu_model]
    seconds = pace(spec, gpu, mix)
    batch = sequences(spec, gpu, mix)
    return 1.0 / (seconds.prompt + mix.generated * (seconds.step / batch + seconds.sequence))


def in_flight(spec: LlmSpec, gpu_model: str, mix: Mix, load: float) -> float:
    """Requests that a replica works on at once when it serves the share `load` of what it can (Little's law).

    A request's decoding takes `generated` steps, each of which reads what all `L` have, while other prompts take their
    share of the time: L = r·(p + g·(s + L·k)) / (1 − r·p).
    """
    seconds = pace(spec, MODELS[gpu_model], mix)
    arrivals = load * rate(spec, gpu_model, mix)
    room = 1.0 - arrivals * (seconds.prompt + mix.generated * seconds.sequence)
    return arrivals * (seconds.prompt + mix.generated * seconds.step) / max(0.05, room)
