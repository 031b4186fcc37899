"""Traffic of the demo's scenario `daily-peak`: nine real days in a row, multiplied by a growth from day to day.

The last day is played, the others are its history. Of these, only what a capacity forecast reads is stored: requests
are drawn, but not served one by one. Their batches follow from the step times of the simulated GPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from foreshock_dashboard.model.samples import Labels, Sample, SampleBatch, labels_of
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world_sections import DAY_SECONDS
from foreshock_dashboard.simulated.load_history import STEP_SECONDS, TOKENS
from foreshock_simulator.scenarios.platforms.flows import ReplicaCapacity
from foreshock_simulator.spec.faults import Surge
from foreshock_simulator.spec.scenario import ScenarioSpec
from foreshock_simulator.traffic import traces

GROWTH_PER_DAY = 0.2
"""Rule of the scenario: each day has so much more traffic than the real days had."""
HOUR_SECONDS = 3600.0
SERVER_METRICS = (
    TOKENS,
    "vllm:inter_token_latency_seconds_sum",
    "vllm:inter_token_latency_seconds_count",
    "vllm:num_requests_running",
    "vllm:kv_cache_usage_perc",
)


class DailyTraffic:
    """Requests per second over time. The last real day begins at `day` (Unix seconds) and has the mean `rate`."""

    def __init__(self, day: float, rate: float) -> None:
        hours = np.array(traces.hourly_rates())
        self.begin = day + DAY_SECONDS - len(hours) * HOUR_SECONDS
        self._times: Floats = self.begin + (np.arange(len(hours), dtype=np.float64) + 0.5) * HOUR_SECONDS
        grown = hours * (1 + GROWTH_PER_DAY) ** (np.arange(len(hours)) / 24)
        self._rates: Floats = grown * rate / grown[-24:].mean()

    def rates(self, times: Floats) -> Floats:
        """Requests per second at Unix seconds; linear between the middles of two hours."""
        found: Floats = np.interp(times, self._times, self._rates)
        return found

    def follow(self, spec: ScenarioSpec, start: float) -> ScenarioSpec:
        """The scenario from `start` (Unix seconds) on, whose only flow has this traffic."""
        (flow,) = spec.platform.flows
        times = np.array([start, *self._times[self._times > start]])
        rates = self.rates(times)
        changes = tuple(
            Surge(flow.name, at, factor, ramp)
            for at, factor, ramp in zip(
                (times - start).tolist(), (rates[1:] / rates[:-1]).tolist(), np.diff(times).tolist(), strict=False
            )
        )
        flows = (replace(flow, rate=float(rates[0])),)
        return replace(spec, platform=replace(spec.platform, flows=flows), faults=changes)

    def history(
        self, spec: ScenarioSpec, target: Mapping[str, str], replicas: Sequence[Labels], end: float, seed: int
    ) -> Iterator[SampleBatch]:
        """Samples of the model server of the scenario until `end` (Unix seconds).

        target: labels of its scrape target. replicas: labels of the series of each.
        By Little's law, the seconds per token, summed over the tokens of a step, are those of the running sequences.
        """
        rng = np.random.default_rng(seed)
        lengths = np.array([request.generated_tokens for request in traces.load("azure-conversation").arrivals])
        server = next(service for service in spec.platform.services if service.model is not None)
        served = np.array([0.0, *ReplicaCapacity(server, spec.platform.hosts[0].gpu_model).rates()]) * lengths.mean()
        tokens, seconds = np.zeros(len(replicas)), np.zeros(len(replicas))
        times: Floats = np.arange(self.begin, end, STEP_SECONDS)
        for time, rate in zip(times.tolist(), (self.rates(times) / len(replicas)).tolist(), strict=True):
            requests = rng.poisson(rate * STEP_SECONDS, len(replicas))
            drawn = np.array([rng.choice(lengths, count).sum() for count in requests])
            running = np.interp(drawn / STEP_SECONDS, served, np.arange(len(served)))
            tokens, seconds = tokens + drawn, seconds + running * STEP_SECONDS
            values = zip(SERVER_METRICS, (tokens, seconds, tokens, running, running / (len(served) - 1)), strict=True)
            samples = [Sample("up", labels_of(target), 1.0)]
            samples += [
                Sample(metric, labels, value)
                for metric, row in values
                for labels, value in zip(replicas, row.tolist(), strict=True)
            ]
            yield SampleBatch(time, "history", tuple(samples))
