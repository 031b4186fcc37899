"""What a service promises: as configured, or else learned from how it usually is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.stats.robust import MAX_EXCURSION_SCALES

SLOWER = (1.6, 3.0)
"""How many times its usual p95 a service may take at least and at most, where nobody says: people notice the first
(Nielsen 1993 puts a lost train of thought at about that), and above the second no fluctuation is usual."""
SCALES = 4.0
"""Between the two, so many scales above the usual level; in any case above what is an ordinary excursion."""
FAILED = 0.01
"""Share of failed requests that a service may have, above what it usually has."""


class Objective(NamedTuple):
    """p95 in seconds and share 0…1 of failed requests that are not to be passed. learned: nobody promised them."""

    seconds: float
    failed: float
    learned: bool = False


def objectives(scan: Scan, configured: Mapping[Service, Objective]) -> Mapping[Service, Objective]:
    """Of every service that has one configured, or a baseline to learn one from."""
    found = dict(configured)
    usual_failed = scan.base.of("failed")
    for service, (level, scale) in scan.base.of("p95").items():
        if isinstance(service, Service) and service not in found:
            factor = max(
                min(max(math.exp(SCALES * scale), SLOWER[0]), SLOWER[1]), math.exp(MAX_EXCURSION_SCALES * scale)
            )
            lost, spread = usual_failed.get(service, (0.0, 0.0))
            allowed = max(lost, 0.0) + max(FAILED, SCALES * spread)
            found[service] = Objective(math.exp(level) * factor, allowed, learned=True)
    return found
