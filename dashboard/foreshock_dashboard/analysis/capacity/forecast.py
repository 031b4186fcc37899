"""The capacity forecast from the history of loads and what services and pools can carry."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from foreshock_dashboard.analysis.capacity.observed import LoadKey
from foreshock_dashboard.analysis.capacity.pool_demand import pool_shortages
from foreshock_dashboard.analysis.capacity.quantiles import load_quantiles
from foreshock_dashboard.analysis.capacity.seasonal import HOUR_POINTS, WEEK_POINTS
from foreshock_dashboard.analysis.capacity.shortage import LIMITED_KINDS, shortage
from foreshock_dashboard.analysis.capacity.supply import Supply
from foreshock_dashboard.model.capacity.forecast import MIN_HISTORY_HOURS, CapacityForecast
from foreshock_dashboard.model.capacity.load import FORECAST_STEP_SECONDS, LoadForecast, LoadKind, Shortage, Subject
from foreshock_dashboard.model.capacity.slow_burn import SlowBurn
from foreshock_dashboard.model.types import Floats

MIN_KNOWN_RATIO = 0.5
"""Least known share of a history, from its first value on."""
RECENT_POINTS = 2 * HOUR_POINTS
"""Steps without a value after which a service or pool is gone, and has no forecast."""
BATCH_SERIES = 64
"""Series that are forecast at once, which bounds memory."""
HIGHEST = {LoadKind.KV_CACHE: 1.0}
"""Highest possible value of kinds that have one."""
UNKNOWN_SUPPLY = Supply(Subject(None, ""), {}, {})


def capacity_forecast(
    start: float,
    history: Mapping[LoadKey, Floats],
    supply: Mapping[Subject, Supply],
    slow_burns: Sequence[SlowBurn] = (),
) -> CapacityForecast:
    """Forecasts of every load with enough history.

    Args:
        start: end of the history, Unix seconds, a multiple of `FORECAST_STEP_SECONDS`.
        history: load by subject and kind, shape (times,), all of one length, the last step ends at `start`.
        supply: what services and pools can carry, by subject without the pool of a service.
    """
    hours = max(map(_hours, history.values()), default=0.0)
    loads: list[LoadForecast] = []
    for batch, known in _batches({key: values for key, values in history.items() if _suffices(values)}):
        quantiles = load_quantiles(np.stack([history[key][-known:] for key in batch]).astype(np.float64))
        for row, (subject, kind) in enumerate(batch):
            of = supply.get(subject, UNKNOWN_SUPPLY)
            full = of.capacity.get(kind, math.nan)
            p10, p50, p90 = (
                np.minimum(values[row], HIGHEST.get(kind, math.inf)).astype(np.float32) for values in quantiles
            )
            loads.append(
                LoadForecast(
                    subject if of is UNKNOWN_SUPPLY else of.subject,
                    kind,
                    start,
                    p10,
                    p50,
                    p90,
                    history=history[subject, kind][-WEEK_POINTS:].copy(),  # keeps no four weeks alive
                    capacity=full,
                    safe=full * of.safe_ratio.get(kind, math.nan),
                    replicas=of.replicas,
                    ready=of.ready,
                    room=of.room,
                    provisioning_seconds=of.provisioning_seconds,
                    gpus_per_replica=of.gpus_per_replica,
                    max_replicas=of.max_replicas,
                    safe_error=of.error if full > 0 else 0.0,
                )
            )
    loads.sort(key=lambda load: (load.subject.service or ("", ""), load.subject.pool, load.kind))
    return CapacityForecast(
        computed_at=start,
        history_hours=hours,
        missing=tuple(kind for kind in LoadKind if not any(key[1] == kind for key in history)),
        loads=tuple(loads),
        shortages=first_shortages(loads),
        slow_burns=tuple(slow_burns),
    )


def first_shortages(loads: Sequence[LoadForecast]) -> tuple[Shortage, ...]:
    """The first shortage of each service and pool, of any kind with a known limit; the earliest first."""
    found: dict[Subject, Shortage] = {}
    decided: set[Subject] = set()
    deciding: list[LoadForecast] = []
    for load in sorted(loads, key=lambda load: LIMITED_KINDS.index(load.kind) if load.kind in LIMITED_KINDS else 99):
        # Tokens and requests are two measures of the same load, of which tokens decide.
        measured = load.kind in (LoadKind.TOKENS, LoadKind.REQUESTS)
        if measured and load.subject in decided:
            continue
        if measured and load.safe > 0:
            decided.add(load.subject)
        if load.kind in LIMITED_KINDS:
            deciding.append(load)
        first = shortage(load)
        if first and (load.subject not in found or first.at < found[load.subject].at):
            found[load.subject] = first
    for first in pool_shortages(deciding):
        if first.subject not in found or first.at < found[first.subject].at:
            found[first.subject] = first
    return tuple(sorted(found.values(), key=lambda item: item.at))


def _batches(history: Mapping[LoadKey, Floats]) -> Iterator[tuple[list[LoadKey], int]]:
    """Series with the same number of steps since their first value, and this number.

    Steps before the first value would shift the rolling origins, and count as days without a profile.
    """
    by_points: dict[int, list[LoadKey]] = {}
    for key, values in history.items():
        by_points.setdefault(len(values) - int(np.isfinite(values).argmax()), []).append(key)
    for points, keys in by_points.items():
        for first in range(0, len(keys), BATCH_SERIES):
            yield keys[first : first + BATCH_SERIES], points


def _suffices(values: Floats) -> bool:
    hours = _hours(values)
    known = int(np.isfinite(values).sum())
    if not np.isfinite(values[-RECENT_POINTS:]).any():
        return False
    return hours >= MIN_HISTORY_HOURS and known * FORECAST_STEP_SECONDS / 3600 >= MIN_KNOWN_RATIO * min(hours, 168.0)


def _hours(values: Floats) -> float:
    """Hours from the first known value to the end."""
    known = np.flatnonzero(np.isfinite(values))
    return (len(values) - int(known[0])) * FORECAST_STEP_SECONDS / 3600 if len(known) else 0.0
