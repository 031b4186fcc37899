"""Since when a healthy platform is healthy, on which data that rests, and what is no breach of an SLO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from foreshock_dashboard.model.service import Service

Ended = Literal["early_warning", "incident", "breach"]


@dataclass(frozen=True)
class HealthySince:
    """Unix seconds since when no service breaches its SLO, or at least since then: no longer was looked at.

    ended: what ended then; None with `at_least`.
    """

    at: float
    at_least: bool
    ended: Ended | None


@dataclass(frozen=True)
class Exceedance:
    """A p95 above the SLO that is no breach of it, as too few requests show it.

    since: Unix seconds; seconds: of the longest run above the SLO. requests: in the SLO window of a minute during it,
    at most; needed: for a breach.
    """

    service: str
    since: float
    seconds: float
    requests: float
    needed: float


class Coverage(NamedTuple):
    """What reports of all that should: fresh scrape targets and GPUs of all, services with too little traffic, SLOs."""

    fresh_targets: int
    targets: int
    fresh_gpus: int
    gpus: int
    low_traffic: tuple[Service, ...]
    slos: int
    learned_slos: int
