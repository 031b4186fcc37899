"""What the analysis expects of every service, whether or not it is an incident: for scalers, gateways and boards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from foreshock_dashboard.model.batching_law import Law
from foreshock_dashboard.model.service import Service


class Risk(NamedTuple):
    """How likely a service is to miss its objective.

    chance: 0…1, within the next ten minutes. p20, p50, p80: seconds until then with a chance of 20, 50 and 80 %;
    0 where it misses it already, infinite where that is further off than the analysis looks.
    """

    service: Service
    chance: float
    p20: float
    p50: float
    p80: float


class Load(NamedTuple):
    """What a service asks of its capacity.

    pool: the name of its GPUs' pool, "" where it has none. ratio: offered load over the capacity of the replicas that
    are ready; 1 is all of it. safe: the ratio up to which its own bursts do no harm; NaN where that is not known.
    law: by which it was reckoned, learned while nothing was wrong; None where that is not told.
    """

    service: Service
    pool: str
    ratio: float
    safe: float
    law: Law | None = None


class Amplification(NamedTuple):
    """Attempts per call on an edge: 1 without retries."""

    client: Service
    server: Service
    ratio: float


class Imbalance(NamedTuple):
    """How uneven a service's replicas are loaded: the busiest over the mean; 1 where all are alike."""

    service: Service
    ratio: float


class Stalled(NamedTuple):
    """The share 0…1 of GPU time that a victim waits for an aggressor, mean over the GPUs that they share."""

    victim: Service
    aggressor: Service
    pool: str
    ratio: float


class Promise(NamedTuple):
    """What a service is judged by: p95 in seconds, and the share 0…1 of failed requests, that are not to be passed.

    learned: from how it usually is, because nobody configured one.
    """

    service: Service
    seconds: float
    failed: float
    learned: bool


@dataclass(frozen=True, slots=True)
class Outlook:
    """Everything that is expected at one instant; what is not known is left out, not told as 0."""

    risks: tuple[Risk, ...] = ()
    loads: tuple[Load, ...] = ()
    amplification: tuple[Amplification, ...] = ()
    imbalance: tuple[Imbalance, ...] = ()
    stalled: tuple[Stalled, ...] = ()
    promises: tuple[Promise, ...] = ()
