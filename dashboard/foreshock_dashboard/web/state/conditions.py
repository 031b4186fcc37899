"""The condition of every service, and its forecast beside its SLO. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from typing_extensions import TypedDict

from foreshock_dashboard.analysis.baseline.counts import MIN_REQUESTS
from foreshock_dashboard.analysis.baseline.levels import seconds_to_baseline
from foreshock_dashboard.analysis.forecast.breach import SLO_WINDOW_SECONDS
from foreshock_dashboard.model.forecast import ServiceSlo
from foreshock_dashboard.model.incident import AtRisk, Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Bools, ConditionKind, Floats, Health, Stage
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.clause import filled_text, in_sentence
from foreshock_dashboard.render.units import counted
from foreshock_dashboard.render.words.services import CONDITION_NOTES, CONDITIONS
from foreshock_dashboard.web.state.freshness import fresh_services
from foreshock_dashboard.web.state.incident_json import BreachSeconds, breach_seconds
from foreshock_dashboard.web.state.numbers import Row, last_median, newest, number, rounded
from foreshock_dashboard.web.state.stages import ServiceHistory

CRITICAL_ERROR_RATIO = 0.05
"""Share of failed requests from which a service is critical."""
WARNING_ERROR_RATIO = 0.01
"""Share of failed requests from which a service is in a warning state."""
QUIET_SECONDS = 300.0
"""Time since the last request until which a service has low traffic; after it, it has no inbound requests."""
MIN_BUSY_RATIO = 0.01
"""Share of the time of a GPU from which a service uses it."""
RISK_HORIZON_SECONDS = 600.0
"""Horizon of the probability of an SLO breach."""
LIKELY_BREACH_PROBABILITY = 0.5
"""Probability of an SLO breach from which a service is at risk."""


def breach_probability(risk: AtRisk, within: float) -> float:
    """Probability 0…1 of an SLO breach within some seconds, interpolated from the quantiles of a risk."""
    if risk.p50 <= 0:
        return 1.0
    quantiles = ((0.1, risk.p10), (0.2, risk.p20), (0.5, risk.p50), (0.8, risk.p80), (0.9, risk.p90))
    finite = [(share, seconds) for share, seconds in quantiles if math.isfinite(seconds)]
    if not finite:
        return 0.0
    shares, seconds = zip(*finite, strict=True)
    return float(np.interp(within, seconds, shares, left=0.0))


class SloJson(Row):
    """An SLO: targets of p95 latency in seconds and of the error rate; learned from the baseline, or configured."""

    p95: float
    error_rate: float
    learned: bool


class ServiceForecast(TypedDict):
    """The SLO of a service, the forecast of its breach, and its load.

    slo_usage: value over target, the larger of latency and errors; above 1 the SLO is breached. breach_probability:
    within `RISK_HORIZON_SECONDS`. breach_seconds: until an expected breach, None where none is. load, safe_load: of
    capacity. imbalance: load of the busiest replica over the mean.
    """

    slo: SloJson | None
    slo_usage: float | None
    breach_probability: float | None
    breach_seconds: BreachSeconds | None
    load: float | None
    safe_load: float | None
    imbalance: float | None


class ServiceForecasts:
    """The forecasts of a snapshot, by service, the same on all pages.

    expected: the SLO breaches that last or are expected, in seconds: the nearest of those that open incidents forecast,
    else a likely one of the service itself.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        forecast = snapshot.forecast
        self._slos: Mapping[Service, ServiceSlo] = {item.service: item for item in forecast.slos}
        self._probabilities = {item.service: item.probability for item in forecast.risks}
        expected = {
            item.service: AtRisk(item.service, item.p20, item.p50, item.p80, item.p10, item.p90)
            for item in forecast.risks
            if item.probability >= LIKELY_BREACH_PROBABILITY
        }
        nearest: dict[Service, AtRisk] = {}
        for item in snapshot.incidents:
            for risk in item.at_risk if item.is_open else ():
                if risk.service not in nearest or risk.p50 < nearest[risk.service].p50:
                    nearest[risk.service] = risk
                    likely = breach_probability(risk, RISK_HORIZON_SECONDS)
                    self._probabilities[risk.service] = likely if item.severity == "critical" else math.nan
        self.expected: Mapping[Service, AtRisk] = expected | nearest
        self._loads = {item.service: item for item in forecast.loads}
        self._imbalance = {item.service: item.ratio for item in forecast.imbalance}

    def breach_probability(self, service: Service) -> float:
        """Probability 0…1 of an SLO breach within the horizon; NaN if unknown."""
        return self._probabilities.get(service, math.nan)

    def is_breach_likely(self, service: Service) -> bool:
        """Whether an SLO breach is likely within the horizon; during a breach too."""
        return self.breach_probability(service) >= LIKELY_BREACH_PROBABILITY

    def slo_usage(self, service: Service, p95: float | None, error_rate: float | None) -> float | None:
        """Value over SLO target, the larger of latency and errors; None without an SLO or current values."""
        if (slo := self._slos.get(service)) is None:
            return None
        pairs = ((p95, slo.seconds), (error_rate, slo.error_rate))
        return max((value / limit for value, limit in pairs if value is not None and limit > 0), default=None)

    def of(self, service: Service, p95: float | None, error_rate: float | None) -> ServiceForecast:
        """SLO, breach forecast, and load."""
        slo, load, risk = self._slos.get(service), self._loads.get(service), self.expected.get(service)
        usage = self.slo_usage(service, p95, error_rate)
        return {
            "slo": slo and SloJson(rounded(slo.seconds), rounded(slo.error_rate), slo.learned),
            "slo_usage": None if usage is None else number(usage),
            "breach_probability": number(self.breach_probability(service)),
            "breach_seconds": breach_seconds(risk) if risk else None,
            "load": load and number(load.ratio),
            "safe_load": load and number(load.safe),
            "imbalance": number(self._imbalance.get(service, math.nan)),
        }


def open_incidents(snapshot: Snapshot) -> tuple[Incident, ...]:
    """The open incidents, the worst and then the oldest first."""
    current = [incident for incident in snapshot.incidents if incident.is_open]
    return tuple(sorted(current, key=_urgency))


IncidentStatus = Literal["critical", "warning", "recovering"]


def incident_status(incident: Incident) -> IncidentStatus:
    """The status in whose color an open incident is shown."""
    return incident.severity if incident.state == "firing" else "recovering"


def _urgency(incident: Incident) -> tuple[bool, bool, bool, float, str]:
    """Sorting key: the more urgent, the less."""
    state = incident.state != "firing", incident.severity != "critical", not incident.cascading
    return *state, incident.since, incident.id


class Condition(NamedTuple):
    """The health of a service, and its condition.

    gpus: without requests, those that it uses, or is idle on (`is_idle`); None if unknown. suspected: it is the
    suspected cause of an open incident. seconds: until it has a baseline, where it has none; at least so long.
    """

    health: Health
    kind: ConditionKind
    stale: bool = False
    gpus: int | None = None
    is_idle: bool = False
    suspected: bool = False
    seconds: float = math.nan

    @property
    def word(self) -> str:
        """The label: `Affected`; `Affected, no data` without fresh data; `No inbound requests; uses 2 GPUs` of a job;
        `No baseline yet; expected in 6 min`.
        """
        word = CONDITIONS[self.kind]
        if self.seconds > 0:
            return f"{word}; {filled_text(CONDITION_NOTES['baseline'], minutes=math.ceil(self.seconds / 60))}"
        if self.gpus is not None:
            note = CONDITION_NOTES["idle_gpus" if self.is_idle else "gpus"]
            return f"{word}; {filled_text(note, gpus=counted(self.gpus, 'GPU'))}"
        return f"{word}, {in_sentence(CONDITIONS['no_data'])}" if self.stale else word


def condition(
    service: Service,
    incidents: Sequence[Incident],
    rate: float | None,
    error_rate: float | None,
    slo_usage: float | None = None,
    stale: bool = False,
    at_risk: bool = False,
) -> Condition:
    """The condition of a service from the open incidents, its errors, and its SLO. stale: no fresh data.

    at_risk: whether an SLO breach is likely.
    """
    breached = slo_usage is not None and slo_usage > 1.0
    role = _role_condition(service, incidents, breached)
    if stale:
        return role._replace(stale=True) if role else Condition("unknown", "no_data")
    if role:
        return role
    if error_rate is not None and error_rate >= WARNING_ERROR_RATIO:
        return Condition("critical" if error_rate >= CRITICAL_ERROR_RATIO else "warning", "errors")
    if breached:
        return Condition("warning", "slo_breach")
    if rate and at_risk:
        return Condition("warning", "at_risk")
    return Condition("idle", "no_traffic") if not rate else Condition("ok", "healthy")


def _role_condition(service: Service, incidents: Sequence[Incident], breached: bool) -> Condition | None:
    """The condition by the role of a service in the open incidents; None without a role. breached: its SLO is."""
    affected: ConditionKind = "slo_breach" if breached else "affected"
    incidents = [incident for incident in incidents if incident.affected]  # others affect no service yet
    named = [incident for incident in incidents if service in incident.affected]
    if named and not breached and all(incident.state == "recovering" for incident in named):
        return Condition("ok", "recovering")
    for incident in incidents:
        if service == incident.service:
            if any(risk.service == service and 0 < risk.p50 < math.inf for risk in incident.at_risk):
                return Condition("warning", "at_risk")  # a breach is forecast
            is_early = incident.severity == "warning" or incident.stage == "early_warning"
            return Condition(incident.severity, "anomalous" if is_early and not breached else affected)
    ahead = any(
        risk.service == service and 0 < risk.p50 < math.inf for incident in incidents for risk in incident.at_risk
    )
    if ahead and not breached:
        return Condition("warning", "at_risk")
    if not breached and any(item.stated_suspect.service == service and item.state == "firing" for item in incidents):
        return Condition("warning", "suspected_cause")
    if severities := {incident.severity for incident in incidents if service in incident.other_affected}:
        return Condition("critical" if breached and "critical" in severities else "warning", affected)
    return Condition("warning", "at_risk") if ahead else None


def too_few_requests(world: World) -> set[Service]:
    """The services with too few requests to judge p95 and error rate."""
    rates = np.array([math.nan if rate is None else rate for rate in last_median(world.red.rate)])
    few = np.isfinite(rates) & ~enough_requests(world, rates)
    return {world.services[row] for row in np.flatnonzero(few).tolist()}


def enough_requests(world: World, rate: Floats) -> Bools:
    """Where there are enough requests to judge p95 and error rate. rate: per second; False where it is unknown."""
    enough: Bools = np.nan_to_num(rate) * max(SLO_WINDOW_SECONDS, world.step) >= MIN_REQUESTS
    return enough


def states(snapshot: Snapshot, history: ServiceHistory) -> Mapping[Service, Condition]:
    """The state of every service, on all pages, in the API, and in commands, in the World's order.

    That is its stage, or its condition while that says more. history: of all services, up to the World's time.
    """
    stages = history.now()
    return {service: _with_stage(found, stages.get(service)) for service, found in conditions(snapshot).items()}


def _with_stage(found: Condition, stage: Stage | None) -> Condition:
    if stage is None or stage == "healthy" or (stage == "early_warning" and found.kind != "healthy"):
        return found
    health, kind = _STAGE_STATES[stage]
    return found._replace(health=health, kind=kind, gpus=None)


_STAGE_STATES: Mapping[Stage, tuple[Health, ConditionKind]] = {
    "early_warning": ("warning", "anomalous"),
    "degraded": ("warning", "degraded"),
    "breached": ("critical", "slo_breach"),
}


def conditions(snapshot: Snapshot) -> Mapping[Service, Condition]:
    """The condition of every service without its stages, in the World's order."""
    world = snapshot.world
    if world is None:
        return {}
    current = open_incidents(snapshot)
    known = np.isfinite(world.red.rate)
    lost = ~known[:, -1:].any(axis=1) & (known.any(axis=1) | ~fresh_services(world))
    forecasts, red = ServiceForecasts(snapshot), world.red
    few, used, recent = too_few_requests(world), _used_gpus(world), _with_recent_requests(world)
    suspects = {item.stated_suspect.service for item in current if item.affected}
    rows = zip(
        world.services,
        last_median(red.rate),
        last_median(red.error_rate),
        last_median(red.p95),
        lost.tolist(),
        strict=True,
    )
    found, learning = {}, snapshot.learning
    left = dict(zip(world.services, seconds_to_baseline(world, red.p95).tolist(), strict=True))
    for service, rate, failed, p95, stale in rows:
        p95, failed = (None, None) if service in few else (p95, failed)
        usage, at_risk = forecasts.slo_usage(service, p95, failed), forecasts.is_breach_likely(service)
        state = condition(service, current, rate, failed, usage, stale, at_risk)
        is_quiet = state.kind == "no_traffic" and service in recent
        if is_quiet or (state.kind == "healthy" and service in few):
            state = Condition("idle", "low_traffic")
        elif state.kind == "healthy" and usage is None and not learning.done:
            left_all = math.nan if snapshot.is_preview else learning.need - learning.have
            state = Condition("idle", "no_baseline", seconds=left_all)
        elif state.kind == "healthy" and usage is None and left[service] > 0:
            state = Condition("idle", "no_baseline", seconds=left[service])
        elif state.kind == "no_traffic":
            busy, idle = used.get(service, (None, None))
            state = state._replace(gpus=busy or idle, is_idle=busy == 0)
        found[service] = state._replace(suspected=service in suspects)
    return found


def _with_recent_requests(world: World) -> set[Service]:
    """The services with a request within `QUIET_SECONDS`: between single requests, the rate is 0."""
    seen = (world.red.rate[:, world.times > world.time - QUIET_SECONDS] > 0).any(axis=1)
    return {world.services[row] for row in np.flatnonzero(seen).tolist()}


def _used_gpus(world: World) -> Mapping[Service, tuple[int, int]]:
    """The number of GPUs that each service uses now, and of those on which its processes do nothing."""
    used: dict[Service, tuple[int, int]] = {}
    for tenant, share in zip(world.tenants, newest(world.busy), strict=True):
        if math.isfinite(share):
            busy, idle = used.get(tenant.service, (0, 0))
            used[tenant.service] = (busy + 1, idle) if share >= MIN_BUSY_RATIO else (busy, idle + 1)
    return used


class ServiceFigures(Row):
    """A service with its state, stage, and request figures.

    suspected: it is the suspected cause of an open incident.
    """

    id: str
    health: Health
    condition: ConditionKind
    word: str
    suspected: bool
    stage: Stage | None
    rate: float | None
    error_rate: float | None
    p50: float | None
    p95: float | None
    p99: float | None


def service_rows(snapshot: Snapshot, history: ServiceHistory) -> list[ServiceFigures]:
    """Every service with its figures, condition, and stage; in the World's order.

    A service that the history does not contain has no stage.
    """
    world = snapshot.world
    if world is None:
        return []
    red, found, stages = world.red, states(snapshot, history), history.now()
    columns = (
        last_median(red.rate),
        last_median(red.error_rate),
        last_median(red.p50),
        last_median(red.p95),
        last_median(red.p99),
    )
    figures = zip(*columns, strict=True)
    return [
        ServiceFigures(
            str(service), state.health, state.kind, state.word, state.suspected, stages.get(service), *newest
        )
        for (service, state), newest in zip(found.items(), figures, strict=True)
    ]
