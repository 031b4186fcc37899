"""Resources that fill up, and what runs out, within hours or days."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from foreshock_dashboard.model.service import Service

LATE_RATIO = 0.05
"""Share of requests that may take longer than the p95 of an SLO."""


class SlowBurnKind(StrEnum):
    """What fills up or runs out, with its unit."""

    HOST_MEMORY = "host_memory"
    """Memory of a host in use, share of all, 0 to 1."""
    GPU_MEMORY = "gpu_memory"
    """Memory of a GPU in use, share of all, 0 to 1."""
    MEMORY = "memory"
    """Memory of a service's worst pod, share of the limit, 0 to 1."""
    FILE_DESCRIPTORS = "file_descriptors"
    """Open file descriptors of a service's worst process, share of the limit, 0 to 1."""
    DISK = "disk"
    """Use of a service's fullest volume, 0 to 1."""
    HOST_DISK = "host_disk"
    """Use of a file system of a host, 0 to 1."""
    KV_CACHE = "kv_cache"
    """KV cache that a service's model servers use while no request runs, 0 to 1, mean over replicas."""
    QUOTA = "quota"
    """Use of one resource of a namespace's quota, 0 to 1."""
    ERROR_BUDGET = "error_budget"
    """Spent share of an SLO's error budget of a period, from 0."""
    QUEUE = "queue"
    """Requests or messages that wait. The limit is twice as many: a queue has no limit."""
    CERTIFICATE = "certificate"
    """Seconds until a certificate expires; the limit is 0."""


class SlowBurnKey(NamedTuple):
    """Identifies what fills up or runs out; the fields are those of `SlowBurn`."""

    kind: SlowBurnKind
    service: Service | None
    name: str


@dataclass(frozen=True, slots=True)
class SlowBurn:
    """Something that grows for hours and will reach its limit; values in the unit of `kind`.

    service: None where it is of no service. name: the host, GPU, disk, certificate, quota, or message queue, or the SLI
    of an error budget; "" for another one of a service.
    growth: units per second, median slope; slowest, fastest: 80% interval. at, earliest, latest: Unix seconds at which
    the limit is reached; `latest` may be infinite. since: Unix seconds since which it grows, three days back at most;
    NaN where that has no meaning. period_seconds: of an error budget. host: of what is on one, else "".
    """

    kind: SlowBurnKind
    service: Service | None
    name: str
    value: float
    limit: float
    growth: float
    slowest: float
    fastest: float
    at: float
    earliest: float
    latest: float
    since: float
    period_seconds: float = math.nan
    host: str = ""

    @property
    def key(self) -> SlowBurnKey:
        """Identifies it in later forecasts."""
        return SlowBurnKey(self.kind, self.service, self.name)
