"""All that looks for a cause, in one list."""

from __future__ import annotations

from collections.abc import Callable

from foreshock_dashboard.analysis.attribution import contended
from foreshock_dashboard.analysis.demand import demand
from foreshock_dashboard.analysis.dependency import dependency
from foreshock_dashboard.analysis.finding import Finding
from foreshock_dashboard.analysis.hardware import hardware
from foreshock_dashboard.analysis.imbalance import imbalance
from foreshock_dashboard.analysis.impatience import impatience
from foreshock_dashboard.analysis.memory import memory
from foreshock_dashboard.analysis.network import network
from foreshock_dashboard.analysis.provisioning import provisioning
from foreshock_dashboard.analysis.retries import retry_storms
from foreshock_dashboard.analysis.scan import Scan

Detector = Callable[[Scan], tuple[Finding, ...]]

DETECTORS: tuple[Detector, ...] = (
    contended,
    network,
    hardware,
    memory,
    provisioning,
    retry_storms,
    impatience,
    dependency,
    imbalance,
    demand,
)


def findings(scan: Scan) -> tuple[Finding, ...]:
    """What all of them found, the surest first."""
    found = [finding for detect in DETECTORS for finding in detect(scan)]
    return tuple(sorted(found, key=lambda each: (-each.strength, each.cause, each.service)))
