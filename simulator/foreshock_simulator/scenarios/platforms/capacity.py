"""Capacity of a replica of a language model, from which traffic and autoscaler targets follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from foreshock_simulator.hardware.models import MODELS
from foreshock_simulator.serving.llm import ACTIVATION_BYTES
from foreshock_simulator.serving.steps import StepTimes
from foreshock_simulator.spec.services import AutoscalerSpec, LlmSpec, ServiceSpec
from foreshock_simulator.spec.traffic import Tokens

AUTOSCALER_LOAD_RATIO = 0.9
"""Load that the autoscaler of a language model aims at."""


class TokenMix(NamedTuple):
    """Mean tokens of a request."""

    prompt: float
    generated: float

    @property
    def context(self) -> float:
        """Mean tokens that a request holds while it generates."""
        return self.prompt + self.generated / 2


TOKEN_MIXES: dict[Tokens, TokenMix] = {
    "azure-conversation": TokenMix(1155.0, 211.0),
    "azure-code": TokenMix(2048.0, 28.0),
    "mooncake": TokenMix(12_035.0, 343.0),
}
"""Means of the traces."""


@dataclass(frozen=True, slots=True)
class ReplicaCapacity:
    """A replica of a model on its GPUs, with requests of a mix."""

    spec: LlmSpec
    gpu_model: str
    mix: TokenMix

    def max_batch(self) -> int:
        """Concurrent requests, as far as the KV cache allows."""
        gpu, times = MODELS[self.gpu_model], self._step_times()
        kv_bytes = (
            self.spec.memory_share * (gpu.memory_bytes - gpu.reserved_bytes) - times.weight_bytes - ACTIVATION_BYTES
        )
        return max(1, min(self.spec.max_sequences, int(kv_bytes / (times.kv_bytes * self.mix.context))))

    def max_rate(self) -> float:
        """Mean requests per second with full batches."""
        return 1.0 / self._seconds_per_request(self.max_batch())

    def in_flight(self, load: float) -> float:
        """Requests in flight at a share `load` of `max_rate`: the smallest batch that serves it."""
        rate = load * self.max_rate()
        max_batch = self.max_batch()
        for batch in range(1, max_batch):
            if 1.0 / self._seconds_per_request(batch) >= rate:
                return float(batch)
        return float(max_batch)

    def _seconds_per_request(self, batch: int) -> float:
        """Replica time of one request in a batch: its part of each decode step, and its prompt."""
        times, context = self._step_times(), round(batch * self.mix.context)
        decode = times.decode_seconds(batch, context)
        prompt = times.seconds(batch, context, [(round(self.mix.prompt), 0)]) - decode
        return prompt + self.mix.generated * decode / batch

    def _step_times(self) -> StepTimes:
        spec = self.spec
        return StepTimes(MODELS[self.gpu_model], spec.parameters, spec.kv_bytes_per_token, spec.tensor_parallel)


def token_mix_name(service: ServiceSpec) -> Tokens:
    """Token mix of a language model of a generated platform."""
    return "azure-code" if service.name.name == "llm-code" else "azure-conversation"


def autoscaler(service: ServiceSpec, gpu_model: str) -> AutoscalerSpec:
    """An autoscaler that keeps a language model at AUTOSCALER_LOAD_RATIO.

    Its maximum is three times the initial replicas.
    """
    assert isinstance(service.model, LlmSpec)  # noqa: S101 - only these are scaled
    target = ReplicaCapacity(service.model, gpu_model, TOKEN_MIXES[token_mix_name(service)]).in_flight(
        AUTOSCALER_LOAD_RATIO
    )
    return AutoscalerSpec("in_flight", round(target, 1), service.replicas, 3 * service.replicas, cold_start=40.0)
