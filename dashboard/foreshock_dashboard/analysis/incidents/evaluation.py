"""One evaluation of all services, shared by its incidents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.forecast.propagation import PropagatedRisk, RiskPropagation
from foreshock_dashboard.analysis.forecast.service_risk import ServiceRisk
from foreshock_dashboard.analysis.root_cause.graph_walk import GraphWalk
from foreshock_dashboard.analysis.root_cause.rank import CauseRanker
from foreshock_dashboard.model.service import Service


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
