"""A cause of low confidence is stated nowhere: pages, messages, alerts, commands, and agents name the candidates."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.notify.incidents import BATCH, CHAT, NOW, incident
from tests.web.caller import Caller
from tests.web.worlds import NOW as WORLD_NOW
from tests.web.worlds import FakeHub, contended, snapshot

from foreshock_dashboard.hub.self_metrics import incident_families, info_labels
from foreshock_dashboard.mcp.compact import incident_list
from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.incident import Candidate, Incident
from foreshock_dashboard.notify.alerts import alert_labels, alerts
from foreshock_dashboard.render.incident_summary import headline, incident_sentence
from foreshock_dashboard.render.incident_text import change_line, incident_text
from foreshock_dashboard.render.notification import open_message, resolved_message
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.documents.postmortem import report
from foreshock_dashboard.web.pages.cascade.data import cascade
from foreshock_dashboard.web.pages.now import data
from foreshock_dashboard.web.state import incident_json

CAUSE_WORDS = ("contention", "neighbor", "gpu_contention", "move_off_gpus", "host-1/gpu-0", "host-0/gpu-0")
"""Words of the cause, its place, and the action against it."""
UNCERTAIN = incident(
    confidence=0.49,
    candidates=(Candidate(BATCH, 0.5), Candidate(CHAT, 0.3)),
    actions=(Action("check_first", CHAT, candidates=(BATCH, CHAT)),),
)


def _at_world(item: Incident) -> Incident:
    """At the times of the world of the pages."""
    return replace(item, since=WORLD_NOW - 60, opened=WORLD_NOW - 30, paged=WORLD_NOW - 10)


def _as_json(item: Incident) -> str:
    return json.dumps(incident_json.incident(item), default=vars)


def _as_alert(item: Incident) -> str:
    posted = alerts([item], NOW, float, 60.0, "http://hub", lambda of, severity: alert_labels(of, severity, str))
    return json.dumps(posted)


def _as_page(item: Incident) -> str:
    """The verdict of the Now page."""
    return json.dumps(data.now(snapshot(contended(), _at_world(item)), "topology")["verdict"], default=vars)


def _as_cascade(item: Incident) -> str:
    """The chooser, the chosen incident, and its suspected cause on the Cascade page."""
    page = cascade(snapshot(contended(), _at_world(item)), WORLD_NOW - 600)
    return json.dumps((page["incidents"], page["selected"], page["suspected"]), default=vars)


def _counted(item: Incident) -> str:
    """The labels of `foreshock_incidents` that have an incident."""
    counts = next(iter(incident_families([item])))
    return json.dumps([sample.labels for sample in counts.samples if sample.value])


def _as_answer(item: Incident) -> str:
    """What an agent reads."""
    app = create_app(FakeHub(snapshot(contended(), _at_world(item))), version="0")
    return json.dumps(incident_list(Caller(app).get("/api/incidents").json())["incidents"])


TEXTS: dict[str, Callable[[Incident], str]] = {
    "headline": headline,
    "headline of a resolved one": lambda item: headline(replace(item, state="resolved", resolved=NOW)),
    "summary": incident_sentence,
    "message": lambda item: "\n".join(open_message(item, "critical", "http://hub")),
    "message of a resolved one": lambda item: "\n".join(
        resolved_message(replace(item, state="resolved", resolved=NOW), "http://hub")
    ),
    "alert": _as_alert,
    "labels of the metric": lambda item: json.dumps(info_labels(item)),
    "line of the count of incidents": _counted,
    "line of a replay": lambda item: change_line(NOW, item),
    "API": _as_json,
    "command": lambda item: incident_text(json.loads(_as_json(item))),
    "Now": _as_page,
    "Cascade": _as_cascade,
    "agent": _as_answer,
    "postmortem": lambda item: report(contended(), _at_world(item)).markdown,
}


@pytest.mark.parametrize("where", TEXTS)
def test_a_cause_of_low_confidence_is_not_stated(where: str) -> None:
    """At medium confidence it is, so the words are those that would appear."""
    text = TEXTS[where]
    assert not [word for word in CAUSE_WORDS if word in text(UNCERTAIN)]
    if where != "headline":
        assert [word for word in CAUSE_WORDS if word in text(replace(UNCERTAIN, confidence=0.5))]


@pytest.mark.parametrize("where", [where for where in TEXTS if "headline" not in where and "line of" not in where])
def test_the_candidates_are_named_instead(where: str) -> None:
    """The likeliest first."""
    text = TEXTS[where](UNCERTAIN)
    assert "ml/batch-embed" in text
    assert "serving/llm-chat" in text


def test_the_first_action_is_to_check_the_candidates() -> None:
    """It is typed in the API, and has no command."""
    (action,) = incident_json.incident(UNCERTAIN)["actions"]
    assert (action["kind"], action["candidates"]) == ("check_first", ["ml/batch-embed", "serving/llm-chat"])
    assert (action["text"], action["command"]) == ("Check ml/batch-embed, serving/llm-chat first", None)
    assert (
        "Action: Check ml/batch-embed, serving/llm-chat first."
        in open_message(UNCERTAIN, "critical", "http://hub").text
    )
    for form, cause in ((UNCERTAIN, None), (replace(UNCERTAIN, confidence=0.5), "gpu_contention")):
        assert incident_json.incident(form)["cause"] == cause
