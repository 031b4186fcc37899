"""What a full replica of a model server generates, learned from days of load rather than from the last hours.

At night a server runs few sequences. A law that is fitted then says little about a full server: read after read, it
differed by a third. Peaks of the last week are nearer to capacity.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.signals import model_servers
from foreshock_dashboard.analysis.capacity.seasonal import HOUR_POINTS, WEEK_POINTS
from foreshock_dashboard.analysis.saturation.batching_model import (
    MAX_FIT_KV_CACHE_RATIO,
    MIN_KV_CACHE_RATIO,
    fit_batching_law,
)
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World

MIN_POINTS = 72
"""Fewest steps with load that a capacity is learned from: twelve hours."""
MIN_ERROR = 0.03
"""Smallest error of a learned capacity: requests become longer, and clocks change."""

MIN_ERRORS = 2.0
"""Standard errors by which load and seconds per token are correlated, at least. Below, no limit shows."""


class ServerFigure(StrEnum):
    """Figures of a mean replica of the model servers of a service."""

    TOKENS = "tokens"
    """Generated tokens per second."""
    PACE = "pace"
    """Seconds per token."""
    RUNNING = "running"
    """Running sequences, as sampled at the end of a step."""
    KV_CACHE = "kv_cache"
    """KV-cache usage, 0 to 1, of the same time."""


ServerKey = tuple[Service, ServerFigure]


class ReplicaCapacity(NamedTuple):
    """Of a full replica. error: standard error of the logarithm of `tokens`.

    tokens: per second, with the KV cache full. sequences: those that fill it. base, per_sequence: n running sequences
    generate n / (base + per_sequence · n) tokens per second.
    """

    tokens: float
    error: float
    sequences: float
    base: float
    per_sequence: float


def observed_servers(world: World) -> Mapping[ServerKey, Floats]:
    """Figures of a mean replica at the World's times, shape (times,); NaN is missing. All-missing rows are left out."""
    return {key: row for key, row in _rows(world) if np.isfinite(row).any()}


def _rows(world: World) -> Iterator[tuple[ServerKey, Floats]]:
    servers = model_servers(world)
    replicas = servers.reporting_replicas(slice(0, len(world.times)))
    for figure, values in (
        (ServerFigure.TOKENS, servers.generated_tokens / replicas),
        (ServerFigure.PACE, servers.per_token),
        (ServerFigure.RUNNING, servers.running / replicas),
        (ServerFigure.KV_CACHE, servers.cache),
    ):
        yield from (
            ((service, figure), row.astype(np.float64)) for service, row in zip(servers.services, values, strict=True)
        )


def replica_capacity(history: Mapping[ServerKey, Floats], service: Service) -> ReplicaCapacity | None:
    """Capacity of a replica of a service, from the figures of the last week.

    None with too little load, or where tokens take no longer with more load, so that no limit shows.

    Means of a step obey Little's law: x tokens per second at s seconds each are x · s sequences. So the law s = a + b·n
    is fitted to means, not to samples of n, whose noise would flatten it.
    """
    if any((service, figure) not in history for figure in ServerFigure):
        return None
    tokens, seconds, running, cache = (
        history[service, figure][-WEEK_POINTS:].astype(np.float64) for figure in ServerFigure
    )
    generating = tokens * seconds
    good = np.isfinite(generating) & (generating > 0) & ~(cache > MAX_FIT_KV_CACHE_RATIO)
    sized = good & (cache > MIN_KV_CACHE_RATIO) & (running > 0)
    if min(good.sum(), sized.sum()) < MIN_POINTS:
        return None
    hours = math.sqrt(good.sum() / HOUR_POINTS)  # steps of an hour are alike
    with np.errstate(invalid="ignore", divide="ignore"):  # a constant load has no correlation
        # not with `generating`, in which any noise of the pace shows as load
        correlation = np.corrcoef(tokens[good], seconds[good])[0, 1]
    if not correlation >= MIN_ERRORS / hours:
        return None
    if (fitted := fit_batching_law(generating[good], seconds[good])) is None:
        return None
    sizes = running[sized] / cache[sized]
    full = float(np.median(sizes))
    # of those running, some compute their prompt
    share = min(float(generating[sized].sum() / running[sized].sum()), 1.0)
    most = full * share
    distance = 1.0 + abs(most - generating[good].mean()) / generating[good].std()
    law_error = fitted.scale * distance / hours
    size_error = 1.25 * float(np.median(np.abs(np.log(sizes / full)))) * 1.4826 / hours
    at_full = fitted.base + fitted.per_sequence * most
    # d log(n / (a + b·n)) / d log n = a / (a + b·n)
    error = math.hypot(MIN_ERROR, law_error, size_error * fitted.base / at_full)
    return ReplicaCapacity(most / at_full, error, full, fitted.base / share, fitted.per_sequence)
