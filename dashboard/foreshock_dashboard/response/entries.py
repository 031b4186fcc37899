"""Entries of kind `incident`, as the journal keeps them: one form for those who write and those who fold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foreshock_dashboard.model.incident import Cause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.response.values import FeedbackVerdict

Data = Mapping[str, Any]


def acknowledge(incident: str, *, acknowledged: bool = True) -> Data:
    """Someone takes care of an incident, or no longer does."""
    return {"action": "acknowledge" if acknowledged else "unacknowledge", "incident": incident}


def assign(incident: str, assignee: str) -> Data:
    """An incident gets a person responsible; "" for none."""
    return {"action": "assign", "incident": incident, "assignee": assignee}


def note(incident: str, text: str) -> Data:
    """A note on an incident."""
    return {"action": "note", "incident": incident, "text": text}


def feedback(incident: str, verdict: FeedbackVerdict, cause: Cause | None, service: Service | None, text: str) -> Data:
    """What a person says about the analysis of an incident."""
    named = str(service) if service else None
    return {
        "action": "feedback", "incident": incident, "verdict": verdict, "cause": cause, "service": named, "text": text
    }  # fmt: skip


def silence(
    start: float,
    end: float,
    *,
    incident: str = "",
    service: Service | None = None,
    noisy_neighbor: Service | None = None,
    comment: str = "",
    maintenance: bool = False,
) -> Data:
    """A silence (see `values.Silence`). Times in Unix seconds."""
    return {
        "action": "silence",
        "start": start,
        "end": end,
        "incident": incident,
        "service": str(service) if service else None,
        "noisy_neighbor": str(noisy_neighbor) if noisy_neighbor else None,
        "comment": comment,
        "maintenance": maintenance,
    }


def end_silence(silence_id: int, incident: str = "") -> Data:
    """A silence ends early. incident: the one it is for, if it is for one."""
    return {"action": "end_silence", "silence": silence_id, "incident": incident}
