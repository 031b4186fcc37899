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


NO_RESPONSES = Responses()


def fold(entries: Iterable[Entry], until: float | None = None) -> Responses:
    """Fold entries, oldest first, of kinds `incident` and `notification`; later ones than `until` are left out.

    Feedback is an exception: it is about the past, and mostly given afterwards.
    """
    responses: defaultdict[str, Response] = defaultdict(Response)
    silences: dict[int, Silence] = {}
    for entry in entries:
        is_later = until is not None and entry.at > until and entry.data.get("action") != "feedback"
        if entry.kind not in ("incident", "notification") or is_later:
            continue
        try:
            incident = str(entry.data.get("incident") or "")
            if entry.kind == "incident":
                responses[incident] = _advanced(responses[incident], silences, entry)
            known = responses[incident]
            responses[incident] = replace(known, entries=(*known.entries, entry))
        except (KeyError, TypeError, ValueError):
            log.warning("journal: entry %d has an unknown form and is left out", entry.seq)
    responses.pop("", None)
    return Responses(responses, tuple(silences[key] for key in sorted(silences, reverse=True)))


def _advanced(response: Response, silences: dict[int, Silence], entry: Entry) -> Response:
    """Return the response after an entry, and update `silences`. Raises KeyError, TypeError, or ValueError."""
    data, stamp = entry.data, Stamp(entry.by, entry.at)
    match data["action"]:
        case "acknowledge":
            return replace(response, acknowledged=stamp)
        case "unacknowledge":
            return replace(response, acknowledged=None)
        case "assign":
            assignee = str(data["assignee"])
            return replace(response, assignment=Assignment(assignee, stamp) if assignee else None)
        case "note":
            return replace(response, notes=(*response.notes, Note(str(data["text"]), stamp)))
        case "feedback":
            return replace(response, feedback=(*response.feedback, _feedback(data, stamp)))
        case "silence":
            silences[entry.seq] = _silence(entry.seq, data, stamp)
        case "end_silence":
            ended = int(data["silence"])
            if ended in silences:
                silences[ended] = replace(silences[ended], end=min(silences[ended].end, entry.at))
        case _:
            raise ValueError("unknown action")
    return response


def _feedback(data: Mapping[str, Any], stamp: Stamp) -> Feedback:
    verdict, cause = data["verdict"], data.get("cause")
    if verdict not in get_args(FeedbackVerdict) or cause not in (None, *get_args(Cause)):
        raise ValueError("unknown verdict or cause")
    return Feedback(verdict, cause, _service(data, "service"), str(data.get("text") or ""), stamp)


def _silence(number: int, data: Mapping[str, Any], stamp: Stamp) -> Silence:
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
