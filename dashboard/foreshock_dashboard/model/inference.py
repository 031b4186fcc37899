"""What model servers tell of themselves, by service and by replica."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.query import Floats
from foreshock_dashboard.model.service import Service


class Replica(NamedTuple):
    """One model server of a service; `instance` is its pod, where that is told, else the scraped target."""

    service: Service
    instance: str


@dataclass(frozen=True, slots=True)
class Inference:
    """Arrays of shape (services, times) and (replicas, times), NaN where there is no sample.

    running, waiting: requests, over all replicas. cache: share 0…1 of the KV cache that is used, mean over replicas.
    preempted, finished: requests per second. queued: seconds in the queue, mean of the requests that left it.
    first_token: p95 of seconds to the first token. per_token: seconds for each further token, mean.
    prompt_tokens, generated_tokens: per second.
    replica_busy: requests running and waiting on each replica; replica_finished: requests per second;
    replica_seconds: seconds from arrival to the last token, mean.
    """

    services: tuple[Service, ...]
    running: Floats = field(repr=False)
    waiting: Floats = field(repr=False)
    cache: Floats = field(repr=False)
    preempted: Floats = field(repr=False)
    finished: Floats = field(repr=False)
    queued: Floats = field(repr=False)
    first_token: Floats = field(repr=False)
    per_token: Floats = field(repr=False)
    prompt_tokens: Floats = field(repr=False)
    generated_tokens: Floats = field(repr=False)
    replicas: tuple[Replica, ...]
    replica_busy: Floats = field(repr=False)
    replica_finished: Floats = field(repr=False)
    replica_seconds: Floats = field(repr=False)

    @classmethod
    def empty(cls, points: int) -> Inference:
        """No model server tells anything."""
        none = np.empty((0, points))
        return cls((), none, none, none, none, none, none, none, none, none, none, (), none, none, none)
