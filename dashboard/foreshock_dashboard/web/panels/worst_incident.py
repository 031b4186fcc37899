"""The most urgent open incident, for a line on pages that show something else."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from foreshock_dashboard.model.incident import Severity, State
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.render.clause import in_sentence
from foreshock_dashboard.render.incident_summary import cause_name
from foreshock_dashboard.web.state.conditions import open_incidents
from foreshock_dashboard.web.state.numbers import Row


class WorstIncident(Row):
    """An open incident that affects services."""

    id: str
    severity: Severity
    state: State
    service: str
    cause: Annotated[str, Field(description="the cause in words, as within a sentence")]
    since: Annotated[float, Field(description="first anomaly, Unix seconds")]
    others: Annotated[int, Field(description="further open incidents that affect services")]


def worst_incident(snapshot: Snapshot) -> WorstIncident | None:
    """The most urgent open incident that affects services; None without one."""
    current = [item for item in open_incidents(snapshot) if item.affected]
    if not current:
        return None
    item, since = current[0], round(current[0].since, 3)
    return WorstIncident(
        item.id, item.severity, item.state, str(item.service), in_sentence(cause_name(item)), since, len(current) - 1
    )
