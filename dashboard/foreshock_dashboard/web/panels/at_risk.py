"""The services that breach their SLO next, for Now and Cascade alike. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Stage
from foreshock_dashboard.render.clause import in_sentence
from foreshock_dashboard.render.words.services import STAGES
from foreshock_dashboard.web.panels.chosen_incidents import ChosenIncidents
from foreshock_dashboard.web.state.incident_json import BreachSeconds, breach_seconds
from foreshock_dashboard.web.state.numbers import Row

MAX_BREACH_SECONDS = 1800.0
"""Longest median time to an SLO breach of a service that is listed as at risk."""


class AtRiskRow(Row):
    """A service that is expected to breach its SLO.

    state: of one that is degraded already: `degraded`, on Now `p95 48 ms, SLO 50 ms`. Of others, on Now the reason:
    `calls serving/llm`, or its metric.
    """

    service: str
    state: str
    breach_seconds: BreachSeconds


def at_risk_next(chosen: ChosenIncidents, stages: Mapping[Service, Stage | None]) -> list[AtRiskRow]:
    """The services that breach their SLO within `MAX_BREACH_SECONDS`, and do not yet, by median time."""
    ahead = sorted(
        (risk.p50, service, risk)
        for service, risk in chosen.risks.items()
        if 0 < risk.p50 <= MAX_BREACH_SECONDS and stages.get(service) != "breached"
    )
    return [AtRiskRow(str(service), _degraded(stages.get(service)), breach_seconds(risk)) for _, service, risk in ahead]


def _degraded(stage: Stage | None) -> str:
    return in_sentence(STAGES["degraded"]) if stage == "degraded" else ""
