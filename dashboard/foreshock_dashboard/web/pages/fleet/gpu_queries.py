"""Queries that run when a GPU is opened: its health, and NVLink throughput of all GPUs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from foreshock_dashboard.common.single_flight_cache import SingleFlightCache
from foreshock_dashboard.model.query import Matcher, MetricSource, Query, Reduce
from foreshock_dashboard.model.snapshot import HubView, Snapshot
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Gpu, World
from foreshock_dashboard.web.pages.fleet.gpu import HardwareHealth, Xid, gpu_row

RATE_WINDOW_SECONDS = 119.0
"""Window of rates."""
LAST_VALUE_WINDOW_SECONDS = 299.0
"""Window of last values."""
XID_HISTORY_SECONDS = 86_399.0
"""Age up to which errors are listed."""
MAX_GPUS = 1000
"""GPUs whose health is cached."""


def read_hardware(source: MetricSource, gpu: Gpu, time: float) -> HardwareHealth:
    """The health of one GPU up to `time`, Unix seconds.

    Raises:
        SourceError: the source cannot answer.
    """
    this = Matcher("uuid", "=", gpu.uuid)

    def read(metric: str, by: str, reduce: Reduce, window: float) -> Mapping[str, float]:
        answer = source.fetch(Query(metric, (this,), (by,), reduce, window), time, time, 1.0)
        rows = zip(map(dict, answer.labels), answer.values[:, -1].tolist(), strict=True) if answer.labels else ()
        return {labels.get(by, ""): value for labels, value in rows if math.isfinite(value)}

    def one(metric: str) -> float:
        return max(read(metric, "uuid", "last", LAST_VALUE_WINDOW_SECONDS).values(), default=math.nan)

    counted = read("gpu_xid_errors_total", "xid", "last", LAST_VALUE_WINDOW_SECONDS)
    when = read("gpu_xid_last_timestamp_seconds", "xid", "last", LAST_VALUE_WINDOW_SECONDS)
    memory = read("gpu_ecc_errors_total", "severity", "last", LAST_VALUE_WINDOW_SECONDS)
    held = read("gpu_throttled_seconds_total", "reason", "rate", RATE_WINDOW_SECONDS)
    xids = [
        Xid(int(code), times, when.get(code, math.nan))
        for code, times in counted.items()
        if code.isdecimal() and times > 0 and not time - when.get(code, time) > XID_HISTORY_SECONDS
    ]
    return HardwareHealth(
        xids=tuple(sorted(xids, key=lambda xid: (-np.nan_to_num(xid.last), xid.number))),
        corrected=memory.get("corrected", math.nan),
        uncorrected=memory.get("uncorrected", math.nan),
        remap_pending=one("gpu_row_remap_pending"),
        remap_failed=one("gpu_row_remap_failed"),
        links=one("gpu_nvlink_links"),
        links_up=one("gpu_nvlink_links_up"),
        throttled=tuple(sorted(((why, share) for why, share in held.items() if share > 0), key=lambda row: -row[1])),
    )


def read_nvlink(source: MetricSource, world: World) -> Floats:
    """Bytes per second of each GPU over all its NVLinks, both directions; shape (gpus,), NaN where unknown.

    Raises:
        SourceError: the source cannot answer.
    """
    place = {gpu.uuid: i for i, gpu in enumerate(world.gpus)}
    total = np.full(len(world.gpus), np.nan)
    for metric in ("gpu_nvlink_transmit_bytes_total", "gpu_nvlink_receive_bytes_total"):
        answer = source.fetch(Query(metric, (), ("uuid",), "rate", RATE_WINDOW_SECONDS), world.time, world.time, 1.0)
        newest = answer.values[:, -1].tolist() if answer.labels else []
        for labels, value in zip(map(dict, answer.labels), newest, strict=True):
            row = place.get(labels.get("uuid", ""))
            if row is not None and math.isfinite(value):
                total[row] = value if math.isnan(total[row]) else total[row] + value
    return total


class GpuReadings:
    """Health and NVLink throughput of GPUs, each read once per snapshot. Safe to call from several threads."""

    def __init__(self, hub: HubView) -> None:
        self._hub = hub
        self._hardware: SingleFlightCache[HardwareHealth] = SingleFlightCache(MAX_GPUS)
        self._nvlink: SingleFlightCache[Floats] = SingleFlightCache(1)

    def hardware(self, snapshot: Snapshot, label: str) -> HardwareHealth:
        """The health of the GPU with this name or UUID; nothing known where no GPU has it."""
        world = snapshot.world
        row = gpu_row(world, label) if world else None
        if world is None or row is None:
            return HardwareHealth()
        gpu = world.gpus[row]
        return self._hardware.get(gpu, lambda: read_hardware(self._hub.metrics, gpu, world.time), snapshot)

    def nvlink(self, snapshot: Snapshot) -> Floats | None:
        """Bytes per second of each GPU over NVLink; None without a World."""
        world = snapshot.world
        if world is None:
            return None
        return self._nvlink.get("nvlink", lambda: read_nvlink(self._hub.metrics, world), snapshot)
