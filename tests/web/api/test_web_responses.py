"""What people do about incidents over the API: it is kept, shown at once, bounded, and needs a role."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.web.caller import Caller
from tests.web.worlds import NOW, SCENES, FakeHub

from foreshock_dashboard.access.audit import AuditLog
from foreshock_dashboard.access.roles import Role, Roles
from foreshock_dashboard.access.tokens import Tokens, token_line
from foreshock_dashboard.model.journal import Entry
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.http.authentication import Access


@pytest.fixture(scope="module")
def hub() -> FakeHub:
    """A hub with an open incident."""
    return FakeHub(SCENES["contended"]())


@pytest.fixture(scope="module")
def client(hub: FakeHub) -> Caller:
    """A client of it."""
    return Caller(create_app(hub, version="0"))


def incident_id(hub: FakeHub) -> str:
    """The id of the open incident."""
    return hub.snapshot.incidents[0].id


def send(client: Caller, path: str, *, method: str = "POST", **body: Any) -> httpx.Response:  # noqa: ANN401
    """Send a JSON body."""
    return client.ask(method, path, json.dumps(body).encode(), {"content-type": "application/json"})


@pytest.fixture
def new_entries(hub: FakeHub) -> Callable[[], list[Entry]]:
    """The entries since the start of the test."""
    before = hub.journal.newest
    return lambda: hub.journal.read(after=before)


@pytest.mark.parametrize(
    ("action", "body", "shown"),
    [
        ("acknowledge", {}, lambda seen: seen["acknowledged"]["by"] == "dana"),
        ("assign", {"assignee": "eve"}, lambda seen: seen["assignment"]["assignee"] == "eve"),
        ("assign", {}, lambda seen: seen["assignment"]["assignee"] == "dana"),
        ("notes", {"text": "first\nsecond"}, lambda seen: seen["notes"][-1]["text"] == "first\nsecond"),
        ("silence", {"duration": "2h"}, lambda seen: seen["silence"]["end"] == NOW + 3 + 7200),
        ("silence", {"end": f"{NOW + 60}", "comment": "known"}, lambda seen: "known" in str(seen["timeline"])),
        ("feedback", {"verdict": "not_useful"}, lambda seen: seen["feedback"][-1]["verdict"] == "not_useful"),
        (
            "feedback",
            {"verdict": "wrong_cause", "service": "ml/x", "cause": "network"},
            lambda seen: (seen["feedback"][-1]["service"], seen["feedback"][-1]["cause"]) == ("ml/x", "network"),
        ),
    ],
)  # fmt: skip
def test_an_action_is_kept_in_the_journal_and_shown_at_once(
    hub: FakeHub,
    client: Caller,
    action: str,
    body: dict[str, Any],
    shown: Any,  # noqa: ANN401 - a predicate
    new_entries: Callable[[], list[Entry]],
) -> None:
    listed, now = client.get("/api/incidents"), client.get("/api/now")
    answer = send(client, f"/api/incidents/{incident_id(hub)}/{action}", by="dana", **body)
    assert answer.status_code == 200, answer.text
    assert shown(answer.json()["response"])
    [entry] = new_entries()
    assert (entry.kind, entry.by, entry.at) == ("incident", "dana", hub.now())
    again = client.get("/api/incidents", {"if-none-match": listed.headers["etag"]})
    assert shown(again.json()["incidents"][0]["response"])
    page = client.get("/api/now", {"if-none-match": now.headers["etag"]})
    assert shown(page.json()["responses"][incident_id(hub)])
    assert page.json()["responses"][incident_id(hub)]["timeline"][-1]["by"] == "dana"


@pytest.mark.parametrize(
    ("path", "body", "status", "problem"),
    [
        ("incidents/nowhere/acknowledge", {}, 404, "no incident 'nowhere'"),
        ("incidents/20260101T000000Z-a/acknowledge", {}, 404, "no incident"),
        ("incidents/ID/acknowledge", {"acknowledge": True}, 400, "acknowledge"),
        ("incidents/ID/notes", {}, 400, "text"),
        ("incidents/ID/notes", {"text": ""}, 400, "text"),
        ("incidents/ID/notes", {"text": "x" * 4001}, 400, "text"),
        ("incidents/ID/notes", {"text": "\x1b[2J"}, 400, "control characters"),
        ("incidents/ID/assign", {"assignee": "x" * 201}, 400, "assignee"),
        ("incidents/ID/assign", {"by": "a\nb"}, 400, "control characters"),
        ("incidents/ID/silence", {}, 400, "pass one of them"),
        ("incidents/ID/silence", {"duration": "1h", "end": "now"}, 400, "pass one of them"),
        ("incidents/ID/silence", {"duration": "soon"}, 400, "duration"),
        ("incidents/ID/silence", {"duration": "100d"}, 400, "90 days"),
        ("incidents/ID/silence", {"end": "now-1h"}, 400, "not after"),
        ("incidents/ID/silence", {"end": "2199-01-01T00:00:00Z"}, 400, "90 days"),
        ("incidents/ID/feedback", {"verdict": "great"}, 400, "verdict"),
        ("incidents/ID/feedback", {"verdict": "wrong_cause", "cause": "gremlins"}, 400, "cause"),
        ("silences", {"duration": "1h"}, 400, "pass one of them"),
        ("silences", {"duration": "1h", "service": "a", "incident": "ID"}, 400, "pass one of them"),
        ("silences", {"duration": "1h", "incident": "nowhere"}, 404, "no incident"),
        ("silences", {"duration": "1h", "noisy_neighbor": "a", "incident": "ID"}, 400, "noisy_neighbor"),
        ("maintenance", {"start": "now", "end": "yesterday"}, 400, "end"),
        ("maintenance", {"duration": "1h", "service": 7}, 400, "service"),
        ("maintenance", {"duration": "1h", "service": "x" * 201}, 400, "service"),
        ("maintenance", {"duration": "1h", "service": "a\x1b[2J"}, 400, "control characters"),
        ("maintenance", {"duration": "1h", "service": " "}, 400, "has no name"),
        ("silences", {"duration": "1h", "service": "a", "noisy_neighbor": ["b"]}, 400, "noisy_neighbor"),
        ("incidents/ID/feedback", {"verdict": "wrong_cause", "service": {"name": "a"}}, 400, "service"),
    ],
)
def test_a_request_that_cannot_be_kept_is_refused_with_the_reason(
    hub: FakeHub,
    client: Caller,
    path: str,
    body: dict[str, Any],
    status: int,
    problem: str,
    new_entries: Callable[[], list[Entry]],
) -> None:
    known = incident_id(hub)
    body = {name: known if value == "ID" else value for name, value in body.items()}
    answer = send(client, f"/api/{path.replace('ID', known)}", **body)
    assert (answer.status_code, problem in answer.json()["error"]) == (status, True), answer.text
    assert new_entries() == []


def test_silences_and_maintenance_windows_are_listed_until_they_end_and_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("foreshock_dashboard.web.api.response_routes.MAX_OPEN_SILENCES", 2)
    hub = FakeHub(SCENES["contended"]())
    client = Caller(create_app(hub, version="0"))
    incident = hub.snapshot.incidents[0]
    service, neighbor = str(incident.service), str(incident.suspect.service)
    pair = send(client, "/api/silences", duration="1h", service=service, noisy_neighbor=neighbor, by="dana")
    window = send(client, "/api/maintenance", start=f"{NOW + 3600}", duration="2h", comment="upgrade")
    assert (pair.status_code, window.status_code) == (200, 200), window.text
    assert send(client, "/api/maintenance", duration="1h").status_code == 409
    listed = client.get("/api/silences").json()["silences"]
    assert [row["maintenance"] for row in listed] == [True, False]
    silence = client.get("/api/incidents").json()["incidents"][0]["response"]["silence"]
    assert (silence["service"], silence["noisy_neighbor"]) == (service, neighbor)
    assert client.ask("DELETE", f"/api/silences/{silence['id']}").status_code == 200
    assert [row["id"] for row in client.get("/api/silences").json()["silences"]] == [window.json()["silence"]["id"]]
    assert client.ask("DELETE", f"/api/silences/{silence['id']}").status_code == 404
    assert client.get("/api/incidents").json()["incidents"][0]["response"]["silence"] is None


def test_a_hub_that_shows_the_past_is_read_only(hub: FakeHub) -> None:
    hub = FakeHub(replace(hub.snapshot, bounds=(NOW - 60, NOW)))
    client = Caller(create_app(hub, version="0"))
    paths = [f"/api/incidents/{incident_id(hub)}/acknowledge", "/api/maintenance"]
    answers = [send(client, path, **({"duration": "1h"} if "main" in path else {})) for path in paths]
    assert [(answer.status_code, "read-only" in answer.text) for answer in answers] == [(409, True)] * 2


def test_a_past_time_shows_what_people_had_done_by_then(hub: FakeHub, client: Caller) -> None:
    send(client, f"/api/incidents/{incident_id(hub)}/acknowledge", by="dana")
    past = client.get(f"/api/incidents?at={NOW - 30}").json()["incidents"]
    assert [row["response"]["acknowledged"] for row in past] == [None] * len(past)


def test_the_postmortem_has_what_people_did(hub: FakeHub, client: Caller) -> None:
    path = f"/api/incidents/{incident_id(hub)}"
    send(client, f"{path}/acknowledge", by="dana")
    send(client, f"{path}/notes", by="dana", text="paused <b>train-llm</b>")
    send(client, f"{path}/feedback", by="dana", verdict="wrong_cause", cause="network")
    report = client.get(f"/api/report/{incident_id(hub)}").json()["markdown"]
    assert "acknowledged by dana" in report
    assert "note “paused &lt;b>train-llm&lt;/b>”" in report.replace("&gt;", ">")
    assert "## Feedback" in report
    assert "| Acknowledged |" in report


def test_the_signed_in_user_counts_and_a_viewer_is_refused(
    hub: FakeHub, tmp_path: Path, new_entries: Callable[[], list[Entry]]
) -> None:
    """Whatever the body says."""
    file = tmp_path / "tokens"
    file.write_text("".join(f"{token_line(role.name, 'secret' + role.name)}\n" for role in Role))
    audit = AuditLog()
    access = Access(Tokens(file), roles=Roles(tuple((role.name, role) for role in Role)), audit=audit)
    client = Caller(create_app(hub, version="0", access=access))
    path = f"/api/incidents/{incident_id(hub)}/assign"
    for role, status in ((Role.VIEWER, 403), (Role.RESPONDER, 200)):
        headers = {"authorization": f"Bearer secret{role.name}", "content-type": "application/json"}
        assert client.post(path, b'{"by": "mallory"}', headers).status_code == status
    [entry] = new_entries()
    assert (entry.by, entry.data["assignee"]) == ("RESPONDER", "RESPONDER")
    newest = audit.recent()[0]
    assert (newest["action"], newest["principal"]) == ("change", "RESPONDER")


def test_a_page_of_another_site_changes_nothing(
    hub: FakeHub, client: Caller, new_entries: Callable[[], list[Entry]]
) -> None:
    headers = {"content-type": "application/json", "sec-fetch-site": "cross-site"}
    assert client.post(f"/api/incidents/{incident_id(hub)}/acknowledge", b"{}", headers).status_code == 403
    assert new_entries() == []


def test_an_incident_that_alertmanager_inhibits_says_so() -> None:
    hub = FakeHub(SCENES["contended"]())
    name = incident_id(hub)
    hub.silenced = {name: None}
    seen = Caller(create_app(hub, version="0")).get("/api/now").json()["responses"][name]
    assert (seen["silence"], seen["inhibited"]) == (None, True)


def test_a_silence_of_alertmanager_shows_until_when() -> None:
    """Also one that was made there; a longer one of the hub wins."""
    hub = FakeHub(SCENES["contended"]())
    name = incident_id(hub)
    hub.silenced = {name: NOW + 3600}
    client = Caller(create_app(hub, version="0"))
    seen = client.get("/api/now").json()["responses"][name]["silence"]
    assert (seen["end"], seen["by"]) == (NOW + 3600, "Alertmanager")
    assert send(client, f"/api/incidents/{name}/silence", duration="2h", by="dana").status_code < 300
    seen = client.get("/api/now").json()["responses"][name]["silence"]
    assert (seen["end"], seen["by"]) == (NOW + 3 + 7200, "dana")
