"""What a replica of a language model can serve; traffic is set as a share of it, and an autoscaler's target by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from foreshock_simulator.hardware.models import MODELS
from foreshock_simulator.serving.llm import ACTIVATION_BYTES
from foreshock_simulator.serving.steps import StepTimes
from foreshock_simulator.spec.services import AutoscalerSpec, LlmSpec, ServiceSpec
from foreshock_simulator.spec.traffic import Tokens

SCALE_AT = 0.9
"""The load at which an autoscaler is to leave a language model: its target is what is then in flight."""


class Mix(NamedTuple):
    """Mean tokens of a request."""

    prompt: float
    generated: float

    @property
    def context(self) -> float:
        """Tokens that it holds on average while it generates."""
        return self.prompt + self.generated / 2


MIXES: dict[Tokens, Mix] = {
    "azure-conversation": Mix(1155.0, 211.0),
    "azure-code": Mix(2048.0, 28.0),
    "mooncake": Mix(12_035.0, 343.0),
}
"""Means of the traces."""


@dataclass(frozen=True, slots=True)
class Replica:
    """A replica of a model on its GPUs, with requests of a mix."""

    spec: LlmSpec
    gpu_model: str
    mix: Mix

    def batch(self) -> int:
        """Requests that it works on at once, as far as memory for keys and values goes."""
        gpu, steps = MODELS[self.gpu_model], self._steps()
        room = self.spec.memory_share * (gpu.memory_bytes - gpu.reserved_bytes) - steps.weight_bytes - ACTIVATION_BYTES
        return max(1, min(self.spec.max_sequences, int(room / (steps.kv_bytes * self.mix.context))))

    def rate(self) -> float:
        """Requests a second that it serves with full batches, in the mean."""
        return 1.0 / self._seconds(self.batch())

    def in_flight(self, load: float) -> float:
        """Requests that it works on at once at this share of `rate`: the batch that is just enough for it."""
        wanted = load * self.rate()
        full = self.batch()
        for batch in range(1, full):
            if 1.0 / self._seconds(batch) >= wanted:
                return float(batch)
        return float(full)

    def _seconds(self, batch: int) -> float:
        """Seconds of the replica that one request of a batch costs: its part of each step, and its prompt in one."""
        steps, context = self._steps(), round(batch * self.mix.context)
        decode = steps.decode_seconds(batch, context)
        prompt = steps.seconds(batch, context, [(round(self.mix.prompt), 0)]) - decode
        return prompt + self.mix.generated * decode / batch

    def _steps(self) -> StepTimes:
        spec = self.spec
        return StepTimes(MODELS[self.gpu_model], spec.parameters, spec.kv_bytes_per_token, spec.tensor_parallel)


def tokens_of(service: ServiceSpec) -> Tokens:
    """The mix of requests that a language model of a generated platform gets."""
    return "azure-code" if service.name.name == "llm-code" else "azure-conversation"


def autoscaler(service: ServiceSpec, gpu_model: str) -> AutoscalerSpec:
    """One that keeps a language model at SCALE_AT, with three times the replicas that start at most."""
    assert isinstance(service.model, LlmSpec)  # noqa: S101 - only these are scaled
    target = Replica(service.model, gpu_model, MIXES[tokens_of(service)]).in_flight(SCALE_AT)
    return AutoscalerSpec("in_flight", round(target, 1), service.replicas, 3 * service.replicas, cold_start=40.0)
