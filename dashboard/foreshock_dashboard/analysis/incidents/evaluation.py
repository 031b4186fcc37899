"""One evaluation of all services, shared by its incidents, and which of them have their causes ranked in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.forecast.propagation import PropagatedRisk, RiskPropagation
from foreshock_dashboard.analysis.forecast.service_risk import ServiceRisk
from foreshock_dashboard.analysis.root_cause.graph_walk import GraphWalk
from foreshock_dashboard.analysis.root_cause.rank import CauseRanker, Group
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service

RANKING_SECONDS = 60.0
"""Seconds between two rankings of the suspected causes of an incident."""
RETRY_SECONDS = 10.0
"""The same in the first `RANKING_SECONDS` of an incident while no service is suspected."""
MAX_RANKED_VALUES = 250_000
"""Services times grid points that the rankings of one evaluation compare, apart from the first. A count and no time, so
that a replay equals the live run."""
POINTS_PER_RANKING = 2
"""Grid points of all services that take as long to compare as the ranking from one affected service."""


@dataclass(frozen=True)
class Evaluation:
    """One evaluation: signals at a grid point, the risk of each service by itself, and all findings."""

    point: EvaluationPoint
    service_risks: Mapping[Service, ServiceRisk]
    findings: Sequence[Finding]

    @cached_property
    def ranker(self) -> CauseRanker:
        """Ranking of suspected causes, for all incidents."""
        return CauseRanker(GraphWalk(self.point, self.findings))

    @cached_property
    def propagation(self) -> RiskPropagation:
        """Propagation of risk from callee to caller, for all incidents."""
        return RiskPropagation(self.point, self.service_risks)

    @cached_property
    def propagated(self) -> Sequence[PropagatedRisk]:
        """Services at risk, by their own signals or through their callees."""
        return self.propagation.risks()


class RankingRequest(NamedTuple):
    """An incident whose causes may be ranked. affected: from where. is_paging: it pages in this evaluation."""

    incident: Incident
    affected: Sequence[Service]
    is_paging: bool

    def is_due(self, time: float) -> bool:
        """Whether it pages, or was last ranked `RANKING_SECONDS` or `RETRY_SECONDS` ago. time: Unix seconds."""
        ranked_at, opened = self.incident.ranked_at, self.incident.opened
        if self._is_urgent or ranked_at is None:
            return True
        is_retried = not self.incident.candidates and ranked_at - opened < RANKING_SECONDS
        return time - ranked_at >= (RETRY_SECONDS if is_retried else RANKING_SECONDS)

    @property
    def _is_urgent(self) -> bool:
        """Whether it pages, or has paged and was not ranked since."""
        ranked_at, paged = self.incident.ranked_at, self.incident.paged
        return self.is_paging or (paged is not None and ranked_at is not None and ranked_at < paged)

    @property
    def priority(self) -> tuple[float, float, str]:
        """Sort key: new incidents and those that page first, then by how long they wait."""
        ranked_at = self.incident.ranked_at
        since = -math.inf if self._is_urgent or ranked_at is None else ranked_at
        return since, self.incident.opened, self.incident.id


def ranked_incidents(
    requests: Iterable[RankingRequest], evaluation: Evaluation, max_values: int = MAX_RANKED_VALUES
) -> frozenset[str]:
    """IDs of the incidents whose causes an evaluation ranks: those that wait longest, within `max_values`.

    The others wait for the next one. Services are compared once for all incidents that they have in common and that
    opened together.
    """
    used, counted, ids = 0, set[tuple[Group, Service | None]](), set[str]()
    due = (request for request in requests if request.is_due(evaluation.point.time))
    for incident, affected, _ in sorted(due, key=lambda request: request.priority):
        group, window = evaluation.ranker.group(affected, incident.opened)
        points: dict[tuple[Group, Service | None], int] = {}
        if window is not None:
            points = {(group, service): POINTS_PER_RANKING for service in affected}
            points[group, None] = len(window.times)
        values = len(group.services) * sum(points[part] for part in points.keys() - counted)
        if not used or used + values <= max_values:
            used += values
            counted |= points.keys()
            ids.add(incident.id)
    return frozenset(ids)
