"""Batching law of a model server: time per token and offered load under continuous batching."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foreshock_dashboard.model.types import Floats


@dataclass(frozen=True, slots=True)
class BatchingLaw:
    """Seconds per token = `base` + `per_sequence` · sequences per replica. `scale`: scale of the residual's logarithm.

    load: normal offered load over the throughput of a full replica, 0 to 1. peak: its 99th percentile.
    """

    base: float
    per_sequence: float
    scale: float
    load: float
    peak: float

    def seconds(self, sequences: Floats) -> Floats:
        """Seconds per token with this many concurrent sequences."""
        return self.base + self.per_sequence * sequences

    def offered_load(self, sequences: Floats, max_sequences: float) -> Floats:
        """Offered load of `sequences` concurrent sequences over the throughput of a full replica.

        X(n) / X(m) with X(n) = n / (a + b·n) tokens per second: by Little's law, n sequences are in service at an
        offered load of X(n). m = `max_sequences`, sequences per replica at a full KV cache; beyond it, at least n / m.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            full_throughput = max_sequences / self.seconds(np.asarray(max_sequences))
            served = sequences / self.seconds(sequences) / full_throughput
            return np.asarray(
                np.where(sequences > max_sequences, np.maximum(served, sequences / max_sequences), served)
            )


@dataclass(frozen=True, slots=True)
class Utilization:
    """Utilization of a service's model servers at one instant; NaN where unknown.

    slowdown: time per token over the value that the load explains; z: the same in scales. cache: KV-cache usage, 0 to
    1, mean over replicas and a minute. full: seconds for which the KV cache has been nearly full. max_sequences:
    sequences per replica at a full KV cache. load: current offered load over the throughput of full servers, above 1 if
    requests wait; loads: means over the windows of `batching_model`, the shortest first. baseline, peak: as in
    the law.
    """

    slowdown: float
    z: float
    cache: float
    full: float
    max_sequences: float
    load: float
    loads: tuple[float, ...]
    baseline: float
    peak: float
