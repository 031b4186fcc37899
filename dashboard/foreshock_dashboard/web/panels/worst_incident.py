"""The most urgent open incident, for a line on pages that show something else."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from foreshock_dashboard.model.incident import Severity, State
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.verdict.reading import Metric
from foreshock_dashboard.render.action import action_clauses
from foreshock_dashboard.render.clause import in_sentence, joined_text
from foreshock_dashboard.render.incident_summary import cause_name, is_load_condition
from foreshock_dashboard.render.verdict.reading_text import reading_text
from foreshock_dashboard.web.panels.limits import readings, worst
from foreshock_dashboard.web.state.conditions import open_incidents
from foreshock_dashboard.web.state.numbers import Row


class WorstIncident(Row):
    """An open incident that affects services."""

    id: str
    severity: Severity
    state: State
    service: str
    cause: Annotated[str, Field(description="the cause in words, as within a sentence")]
    figure: Annotated[str, Field(description="its key metric beside the limit; empty if unknown")]
    action: Annotated[str, Field(description="the first recommended action while it fires; else empty")]
    since: Annotated[float, Field(description="first anomaly, Unix seconds")]
    others: Annotated[int, Field(description="further open incidents that affect services")]


def worst_incident(snapshot: Snapshot) -> WorstIncident | None:
    """The most urgent open incident that affects services; None without one."""
    current = [item for item in open_incidents(snapshot) if item.affected]
    if not current:
        return None
    item = current[0]
    metrics: tuple[Metric, ...] = ("load",) if is_load_condition(item) else ("p95", "error rate")
    reading = worst(readings(snapshot, {}), *metrics, service=item.service)
    action = item.actions[0] if item.state == "firing" and item.actions else None
    return WorstIncident(
        item.id,
        item.severity,
        item.state,
        str(item.service),
        in_sentence(cause_name(item)),
        reading_text(reading) if reading else "",
        joined_text(action_clauses(action)) if action else "",
        round(item.since, 3),
        len(current) - 1,
    )
