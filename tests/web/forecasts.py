"""A capacity forecast of the services of `tests.web.worlds`: daily waves, of which one grows, highest on Wednesdays.

Times are relative to `NOW` of the worlds, Tuesday, November 25, 2025, 10:00 UTC.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from tests.web.worlds import NOW, service

from foreshock_dashboard.analysis.capacity.forecast import first_shortages
from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.capacity.load import (
    FORECAST_POINTS,
    FORECAST_STEP_SECONDS,
    LoadForecast,
    LoadKind,
    Shortage,
    ShortageBasis,
    Subject,
)
from foreshock_dashboard.model.capacity.slow_burn import SlowBurn, SlowBurnKind
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats

HOUR, DAY = 3600.0, 86_400.0
CHAT, SMALL, EMBEDDER = service("vllm-70b"), service("vllm-8b"), service("embedder")
PEAK_HOUR = 14.0
HISTORY_POINTS = 14 * 144


def wave(times: Floats, mean: float, growth: float = 0.0) -> Floats:
    """A load by hour with a peak at `PEAK_HOUR`, UTC. One that grows, by a share each day, is highest on Wednesdays."""
    days = (times - NOW) / DAY
    shape = 1.0 + 0.5 * np.cos(2 * np.pi * (times // HOUR / 24 - PEAK_HOUR / 24))
    other_day = (times // DAY - NOW // DAY) % 7 != 1
    values: Floats = mean * (1.0 + growth * days) * shape * np.where(other_day & (growth > 0), 0.8, 1.0)
    return values


def load(
    who: Service | None, pool: str, mean: float, kind: LoadKind = LoadKind.REQUESTS, growth: float = 0.0
) -> LoadForecast:
    """The forecast of a `wave`, ±10%, whose capacity is 20 and safe limit 15; that of KV cache has neither.

    One that grows is known better. Of `CHAT`, three replicas are ready, and the pool has room for the fourth.
    """
    after = NOW + FORECAST_STEP_SECONDS * np.arange(FORECAST_POINTS, dtype=np.float64)
    before = NOW + FORECAST_STEP_SECONDS * np.arange(-HISTORY_POINTS, 0, dtype=np.float64)
    p50 = wave(after, mean, growth)
    low, high = (0.945, 1.075) if growth else (0.9, 1.1)
    return LoadForecast(
        Subject(who, pool),
        kind,
        NOW,
        low * p50,
        p50,
        high * p50,
        wave(before, mean, growth),
        capacity=math.nan if kind is LoadKind.KV_CACHE else 20.0,
        safe=math.nan if kind is LoadKind.KV_CACHE else 15.0,
        replicas=4.0,
        ready=3.0 if who == CHAT else 4.0,
        room=1.0 if who == CHAT else math.nan,
        provisioning_seconds=480.0 if who == CHAT else math.nan,
        gpus_per_replica=math.nan if who is None else 1.0,
    )


def shortage(
    who: Service | None = CHAT,
    at: float = NOW + DAY + 40 * 60,
    *,
    kind: LoadKind = LoadKind.REQUESTS,
    pool: str = "chat",
    replicas: int = 2,
    room: float = 1.0,
    earliest: float = -50 * 60,
    latest: float = 50 * 60,
    provisioning_seconds: float = 480.0,
    max_replicas: float = 4.0,
) -> Shortage:
    """The shortage of `FORECAST`, tomorrow at 10:40. earliest, latest: seconds from `at`."""
    return Shortage(
        Subject(who, pool),
        kind,
        at,
        at + earliest,
        at + latest,
        peak=17.2,
        peak_at=at + 200 * 60,
        safe=15.0,
        replicas=replicas,
        ready=3.0,
        room=room,
        provisioning_seconds=provisioning_seconds,
        max_replicas=max_replicas,
    )


RECENT = replace(shortage(), earliest=math.nan, latest=math.nan, basis=ShortageBasis.RECENT)
"""A shortage that only follows from the last days."""


def slow_burn(
    kind: SlowBurnKind = SlowBurnKind.HOST_MEMORY, who: Service | None = None, name: str = "host-3"
) -> SlowBurn:
    """Something that is full in two days, on Thursday at 14:00."""
    at = NOW + 2 * DAY + 4 * HOUR
    return SlowBurn(
        kind,
        who,
        name,
        value=0.78,
        limit=1.0,
        growth=0.22 / (at - NOW),
        slowest=1e-6,
        fastest=2e-6,
        at=at,
        earliest=at - 10 * HOUR,
        latest=at + 20 * HOUR,
        since=NOW - DAY,
    )


_LOADS = (
    load(CHAT, "chat", 11.1, growth=0.03),
    load(CHAT, "chat", 6.0, LoadKind.KV_CACHE),
    load(SMALL, "chat", 6.0),
    load(EMBEDDER, "", 9.0),
    load(None, "chat", 7.0, LoadKind.GPU_QUOTA),
    load(None, "batch", 12.0, LoadKind.GPU_BUSY),
)
FORECAST = CapacityForecast(
    computed_at=NOW,
    history_hours=336.0,
    missing=(LoadKind.TOKENS,),
    loads=_LOADS,
    shortages=first_shortages(_LOADS),
    slow_burns=(slow_burn(),),
)
NONE_SHORT = CapacityForecast(computed_at=NOW, history_hours=336.0, loads=FORECAST.loads[2:4])
YOUNG = CapacityForecast(computed_at=NOW, history_hours=5.2)
UNREADABLE = CapacityForecast(error="Prometheus http://127.0.0.1:9090 refuses connections. Start it.")
IDLE = CapacityForecast(computed_at=NOW, history_hours=48.0)
NOT_YET = CapacityForecast(computed_at=math.nan)
