"""Model servers that are asked for more than they carry, or soon will be."""

from __future__ import annotations

from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.analysis.baseline.replicas import LOST_REPLICAS_RATIO, lost
from foreshock_dashboard.model.batching_law import Utilization
from foreshock_dashboard.model.service import Service

CARRIED = (0.87, 0.76, 0.72)
"""Load up to which model servers carry their own bursts, mean over `batching.WINDOWS`: the longer a mean is, the less
of its bursts it shows (ρ_max = 1 / (1 + z · √(IDC(w) / λw)), Gusella 1991 on the index of dispersion IDC)."""
OF_PEAK = (1.1, 1.0, 0.9)
"""The same as parts of the load in its busiest minutes: who always comes in bursts is known to carry them."""
BURSTY = 2.5
"""Times its usual load that a service has in its busiest minutes, from which what comes goes again by itself."""
STRETCH = 1.2
"""How many times what others carry such a one may be asked for: it is in trouble when there is hardly any room."""
MORE = 0.1
"""Load above the usual from which it is not what the service always carries."""
FULL_FOR = 20.0
"""Seconds for which all KV caches are full until that is no burst."""
FULL_AT = 0.82
"""Load of late from which they are full of requests, and not of what a few of them hold."""
FILLING = 0.7
"""Load, mean of two minutes, from which its growth is looked at."""
AHEAD = 0.8
"""Where it has come to by the line through the means of two and of five minutes, so that no mean needs to wait."""
REASONS = (1.2, 1.25, 1.2)
"""Times the usual of tokens, KV cache per request and time per token from which load has a reason to go on growing.
Without any it is a burst, which goes as it came."""


def crowding(scan: Scan, service: Service) -> bool:
    """Whether a service's model servers are asked for more than they carry, or soon will be; not where it has none."""
    strain = scan.utilizations.get(service)
    return strain is not None and (crowd(strain) or (filling(strain) and has_reason(scan, service, strain)))


def crowd(strain: Utilization) -> bool:
    """Whether model servers are asked for more than they carry, or have had no room for a while.

    What the mean of two minutes does not show any more is gone, however long that of five minutes goes on to tell it.
    """
    bursty = _bursty(strain)
    more = STRETCH if bursty else 1.0
    limits = [max(more * most, part * strain.peak) for most, part in zip(CARRIED, OF_PEAK, strict=True)]
    shown = (strain.loads[0], strain.loads[1], min(strain.loads[1:]))
    beyond = [
        load >= most and least >= strain.usual + MORE
        for load, least, most in zip(strain.loads, shown, limits, strict=True)
    ]
    full = max(more * FULL_AT, OF_PEAK[0] * strain.peak)
    filled = strain.full >= FULL_FOR and strain.load >= full and not strain.usual + MORE > strain.load
    return any(beyond[1:] if bursty else beyond) or filled


def brimming(strain: Utilization) -> bool:
    """Whether model servers have more at this moment than they carry."""
    return strain.loads[0] >= CARRIED[0]


def filling(strain: Utilization) -> bool:
    """Whether load grows so that model servers are asked for more than they carry before its means are there.

    Those of two and of five minutes are a minute and a half apart, and the newer one is as old: the load has come as
    far above that by now as that is above the older one. Of who always comes in bursts it tells nothing: they go again.
    """
    _, newer, older = strain.loads
    now = newer + max(0.0, newer - older)
    grows = newer >= max(FILLING, strain.usual + MORE) and now >= max(AHEAD, OF_PEAK[1] * strain.peak)
    return grows and not _bursty(strain)


def has_reason(scan: Scan, service: Service, strain: Utilization) -> bool:
    """Whether anything is known that makes the load of model servers grow."""
    grown = (scan.ratio("tokens", service), scan.ratio("held", service), strain.slowdown)
    return (
        any(ratio >= least for ratio, least in zip(grown, REASONS, strict=True))
        or lost(scan, service) >= LOST_REPLICAS_RATIO.midpoint
    )


def _bursty(strain: Utilization) -> bool:
    return strain.peak >= BURSTY * strain.usual
