"""The state of incidents that people made, as a pure fold of the journal's entries.

Entries are never changed: of two acknowledgments both stay, and the last one is shown. Entries of an unknown or
malformed form, such as those of a newer version, are left out.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from foreshock_dashboard.model.incident import Cause, Incident
from foreshock_dashboard.model.journal import Entry
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.response.values import Assignment, Feedback, FeedbackVerdict, Note, Response, Silence, Stamp

log = logging.getLogger(__name__)

KINDS = ("incident", "notification")
"""Kinds of entries that are folded."""
NO_RESPONSE = Response()


@dataclass(frozen=True, slots=True)
class Responses:
    """What people did about all incidents. silences: the newest first, also future and ended ones.

    inhibited: incidents about which Alertmanager sends nothing while another alert fires.
    """

    by_incident: Mapping[str, Response] = field(default_factory=dict)
    silences: tuple[Silence, ...] = ()
    inhibited: frozenset[str] = frozenset()

    def of(self, incident_id: str) -> Response:
        """What people did about an incident."""
        return self.by_incident.get(incident_id, NO_RESPONSE)

    def silence_of(self, incident: Incident, time: float) -> Silence | None:
        """The silence that an incident is under at a time (Unix seconds), of several the one that ends last."""
        active = (item for item in self.silences if item.is_active(time) and item.matches(incident))
        return max(active, key=lambda item: item.end, default=None)

    def silences_capacity(self, service: Service | None, time: float) -> bool:
        """Whether a silence covers capacity messages about a service, or a pool (None), at a time (Unix seconds)."""
        return any(item.is_active(time) and item.covers(service) for item in self.silences)


NO_RESPONSES = Responses()


def fold(entries: Iterable[Entry], until: float | None = None) -> Responses:
    """Fold entries, oldest first, of kinds `KINDS`; later ones than `until` are left out.

    Feedback is an exception: it is about the past, and mostly given afterwards.
    """
    return Fold().add(
        entry for entry in entries if until is None or entry.at <= until or entry.data.get("action") == "feedback"
    )


class Fold:
    """A fold that goes on with later entries, in time proportional to them and to the incidents that they are about."""

    def __init__(self) -> None:
        self._drafts: defaultdict[str, _Draft] = defaultdict(_Draft)
        self._responses: dict[str, Response] = {}
        self._silences: dict[int, Silence] = {}

    def add(self, entries: Iterable[Entry]) -> Responses:
        """Fold more entries, oldest first, and return what people did up to them."""
        changed: set[str] = set()
        for entry in entries:
            if entry.kind not in KINDS:
                continue
            incident = str(entry.data.get("incident") or "")
            try:
                if entry.kind == "incident":
                    self._advance(self._drafts[incident], entry)
            except (KeyError, TypeError, ValueError):
                log.warning("journal: entry %d has an unknown form and is left out", entry.seq)
                continue
            if incident:
                self._drafts[incident].entries.append(entry)
                changed.add(incident)
        self._responses = self._responses | {incident: self._drafts[incident].response() for incident in changed}
        return Responses(self._responses, tuple(self._silences[key] for key in sorted(self._silences, reverse=True)))

    def _advance(self, draft: _Draft, entry: Entry) -> None:
        """Apply an entry to the response of its incident and to the silences. Raises as `_silence`."""
        data, stamp = entry.data, Stamp(entry.by, entry.at)
        match data["action"]:
            case "acknowledge":
                draft.acknowledged = stamp
            case "unacknowledge":
                draft.acknowledged = None
            case "assign":
                assignee = str(data["assignee"])
                draft.assignment = Assignment(assignee, stamp) if assignee else None
            case "note":
                draft.notes.append(Note(str(data["text"]), stamp))
            case "feedback":
                draft.feedback.append(_feedback(data, stamp))
            case "silence":
                self._silences[entry.seq] = _silence(entry.seq, data, stamp)
            case "end_silence":
                if silence := self._silences.get(int(data["silence"])):
                    self._silences[silence.id] = replace(silence, end=min(silence.end, entry.at))
            case _:
                raise ValueError("unknown action")


@dataclass(slots=True)
class _Draft:
    """A response that is still folded: lists, because a tuple would be copied with each entry."""

    acknowledged: Stamp | None = None
    assignment: Assignment | None = None
    notes: list[Note] = field(default_factory=list)
    feedback: list[Feedback] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    def response(self) -> Response:
        return Response(
            self.acknowledged, self.assignment, tuple(self.notes), tuple(self.feedback), tuple(self.entries)
        )


def _feedback(data: Mapping[str, Any], stamp: Stamp) -> Feedback:
    verdict, cause = data["verdict"], data.get("cause")
    if verdict not in get_args(FeedbackVerdict) or cause not in (None, *get_args(Cause)):
        raise ValueError("unknown verdict or cause")
    return Feedback(verdict, cause, _service(data, "service"), str(data.get("text") or ""), stamp)


def _silence(number: int, data: Mapping[str, Any], stamp: Stamp) -> Silence:
    """Read a silence. Raises KeyError, TypeError, or ValueError."""
    return Silence(
        id=number,
        start=float(data["start"]),
        end=float(data["end"]),
        stamp=stamp,
        incident=str(data.get("incident") or ""),
        service=_service(data, "service"),
        noisy_neighbor=_service(data, "noisy_neighbor"),
        comment=str(data.get("comment") or ""),
        maintenance=bool(data.get("maintenance")),
    )


def _service(data: Mapping[str, Any], name: str) -> Service | None:
    return Service.parse(str(data[name])) if data.get(name) else None
