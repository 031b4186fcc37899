"""KV cache that no request uses: blocks that a model server leaked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from foreshock_dashboard.analysis.baseline.signals import model_servers
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World


def idle_cache(world: World) -> Mapping[Service, Floats]:
    """KV-cache usage, 0 to 1, at the World's times at which no request runs; NaN at others.

    vLLM and SGLang count no block that only holds a prefix for reuse, so that an idle server uses none.
    """
    servers = model_servers(world)
    rows = np.where(servers.running == 0, servers.cache, np.nan).astype(np.float64)
    return {service: row for service, row in zip(servers.services, rows, strict=True) if np.isfinite(row).any()}


def held(values: Floats, points: int) -> Floats:
    """The values with each kept for up to so many steps, until the next one: what is leaked while busy is not seen."""
    steps = np.arange(len(values))
    newest = np.maximum.accumulate(np.where(np.isfinite(values), steps, -1))
    return np.where((newest >= 0) & (steps - newest <= points), values[newest], np.nan)
