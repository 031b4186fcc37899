"""What the headline of an open incident says: its service, condition, and value beside the limit. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from foreshock_dashboard.model.forecast import ServiceSlo
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Stage
from foreshock_dashboard.model.verdict.course import Breach, Peak
from foreshock_dashboard.model.verdict.reading import Metric, Reading
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.clause import Text, joined_text, text
from foreshock_dashboard.render.incident_summary import (
    BREACHES_SLO,
    WITHIN_SLO_AGAIN,
    breach_forecast,
    condition_clauses,
    headline_clauses,
    headline_interval,
    is_forecast,
    is_load_condition,
    slo_outlook,
)
from foreshock_dashboard.render.verdict.incident_course import headline_figure
from foreshock_dashboard.render.verdict.reading_text import reading_text
from foreshock_dashboard.web.pages.now.course import breach, peak
from foreshock_dashboard.web.panels.chosen_incidents import chosen_incident
from foreshock_dashboard.web.panels.limits import worst
from foreshock_dashboard.web.state.stages import ServiceHistory

SLO_METRICS: tuple[Metric, ...] = ("p95", "error rate")


class Headline(NamedTuple):
    """What the headline of an open incident says.

    service: its subject. figure: the value beside its limit. slo: of the subject, where it is explained. own: the
    metric of the incident's own service that uses most of its SLO. reading: the metric of the headline. is_forecast:
    whether it is that of a forecast, which the clauses state; outlook: the forecast beside a load, else "". interval:
    of either forecast, else "". beyond: services that breach their SLO; breached: those that did since the first
    anomaly; whole: their breaches. peak: of what recovers.
    """

    service: Service
    clauses: Text
    figure: str
    slo: ServiceSlo | None
    own: Reading | None
    reading: Reading | None
    is_forecast: bool
    outlook: str
    interval: str
    is_over: bool
    beyond: tuple[Service, ...]
    breached: tuple[Service, ...]
    whole: Breach | None
    peak: Peak | None

    @property
    def has_forecast(self) -> bool:
        """Whether it states when the SLO will be breached."""
        return self.is_forecast or bool(self.outlook)

    @property
    def title(self) -> str:
        """Without values, for the title of the document."""
        return f"{joined_text(self.clauses)}{f', {self.outlook}' if self.outlook else ''}"

    @property
    def line(self) -> Text:
        """With its figure, and of a forecast the metric that it is of."""
        figure = self.figure or (reading_text(self.reading, self.slo) if self.reading else "")
        return text(self.clauses, f": {figure}" if figure else "")


def headline(
    snapshot: Snapshot,
    world: World,
    item: Incident,
    history: ServiceHistory | None,
    found: Sequence[Reading],
    *,
    is_first: bool = True,
) -> Headline:
    """The headline of an open incident. found: the readings of all services. is_first: it explains a learned SLO."""
    stages: Mapping[Service, Stage | None] = history.now() if history else {}
    slos: Mapping[Service, ServiceSlo] = {slo.service: slo for slo in snapshot.forecast.slos}
    own = worst(found, *SLO_METRICS, service=item.service)
    subject = _subject(item, own, found)
    reading = worst(found, *SLO_METRICS, service=subject)
    breaches_slo = reading is not None and reading.usage > 1
    stage = stages.get(subject)
    if item.stage is None:  # a breach that paused is none in the headline, beside its value
        stage = "breached" if breaches_slo else "degraded" if stage == "breached" else stage
    said = condition_clauses(item, stage)
    if item.stage == "breached" and not breaches_slo and subject == item.service:
        said, reading = headline_clauses(item), None  # an operation breaches its SLO, not all requests together
    if subject != item.service:
        said = text(subject, f" {BREACHES_SLO}")
    elif is_load_condition(item):
        reading = worst(found, "load", service=subject) or reading
    chosen = chosen_incident(snapshot, item)
    beyond = tuple(service for service, stage in stages.items() if stage == "breached" and chosen.may_have(service))
    may_breach = tuple(filter(chosen.may_have, history.anomalous_services())) if history else ()
    breached = tuple(service for service in may_breach if history and breach(history, [service], item.since))
    whole = breach(history, breached, item.since) if history else None
    # the incident fires until its signals are normal again, a little longer than the last breach
    is_over = whole is not None and whole.until is not None
    if is_over and item.state == "firing" and subject == item.service:
        said = text(subject, f" {WITHIN_SLO_AGAIN}")
    top = peak(world, item, slos.get(item.service)) if item.state == "recovering" or is_over else None
    if is_over and top is not None and subject == item.service:  # what is over was worse in this metric
        reading = worst(found, top.metric, service=subject) or reading
    ahead_of_breach = subject == item.service and not breaches_slo and is_forecast(item) and not is_over
    slo = slos.get(subject) if is_first else None
    is_load = reading is not None and reading.metric == "load" and not is_over
    symptom = item.summary.symptom
    few = breaches_slo and not is_load and subject == item.service and symptom is not None and not symptom.counts
    figure = headline_figure(reading, top, slo, few=few) if reading and not ahead_of_breach else ""
    if is_load:
        figure += slo_outlook(item, reading_text(own, slo) if own else "")
    outlook = breach_forecast(item) if is_load else ""
    interval = headline_interval(item) if ahead_of_breach or outlook else ""
    forecast = ahead_of_breach, outlook, interval
    return Headline(subject, said, figure, slo, own, reading, *forecast, is_over, beyond, breached, whole, top)


def _subject(item: Incident, own: Reading | None, found: Sequence[Reading]) -> Service:
    """The service of the headline: the incident's own, or an affected one that breaches its SLO before it."""
    if item.state != "firing" or (own is not None and own.usage > 1):
        return item.service
    near = {*item.affected, *(risk.service for risk in item.at_risk)} - {item.service}
    usages = {service: reading for service in near if (reading := worst(found, *SLO_METRICS, service=service))}
    beyond = [service for service, reading in usages.items() if reading.status == "critical"]
    return max(beyond, key=lambda service: (usages[service].usage, service), default=item.service)
