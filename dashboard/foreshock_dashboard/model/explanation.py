"""The answer to the question which service is the root cause, with what it rests on."""

from __future__ import annotations

from typing import Literal, NamedTuple

from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.incident import Candidate
from foreshock_dashboard.model.service import Service

SignalKind = Literal["latency", "errors", "traffic", "availability", "resource", "calls", "other"]
MissingKind = SignalKind | Literal["changes"]
SIGNAL_KINDS: tuple[SignalKind, ...] = ("latency", "errors", "traffic", "availability", "resource", "calls", "other")


class SignalCount(NamedTuple):
    """How many series of a kind of signal were compared with their baselines, and of how many services."""

    kind: SignalKind
    series: int
    services: int


class Period(NamedTuple):
    """A time range in Unix seconds."""

    start: float
    end: float


class MissingSignal(NamedTuple):
    """A kind of signal that no source has, or changes."""

    kind: MissingKind


class Explanation(NamedTuple):
    """Ranked root causes.

    service: the affected one; None if the question was which of all services. at: Unix seconds. candidates: suspected
    causes, the most likely first, scores sum to 1; empty where the evidence is within what is normal. weak_candidates:
    then what is closest to anomalous, the most anomalous first. signals: what was compared; missing: kinds of signals
    that no source has. baseline, analyzed: the times that were compared; None without data. changes: those before the
    end of the analyzed time, of an inference platform or reported ones, the newest first.
    """

    service: Service | None
    at: float
    candidates: tuple[Candidate, ...]
    weak_candidates: tuple[Candidate, ...] = ()
    signals: tuple[SignalCount, ...] = ()
    missing: tuple[MissingSignal, ...] = ()
    baseline: Period | None = None
    analyzed: Period | None = None
    changes: tuple[Change, ...] = ()
