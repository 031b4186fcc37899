"""Changes over the API: other systems report them, each needs a signature or a role, and all are listed and shown."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.changes.test_reports import APPLICATION, DEPLOYED, EVENT, ROLLED_OUT, cdevent
from tests.web.caller import Caller
from tests.web.worlds import NOW, SCENES, FakeHub, service

from foreshock_dashboard.access.audit import AuditLog
from foreshock_dashboard.access.rate_limit import MIN_BURST_REQUESTS
from foreshock_dashboard.access.roles import Role, Roles
from foreshock_dashboard.access.tokens import Tokens, token_line
from foreshock_dashboard.changes.github import webhook_secret
from foreshock_dashboard.changes.labels import change_labels
from foreshock_dashboard.changes.merging import merged_changes
from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.render.change import CHANGE_SIGN
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.charts.chart import Look
from foreshock_dashboard.web.charts.lines import Mark, draw_marks
from foreshock_dashboard.web.charts.theme import LIGHT
from foreshock_dashboard.web.documents.postmortem import incident_plots, report
from foreshock_dashboard.web.http.authentication import GITHUB_PATH, Access
from foreshock_dashboard.web.http.oidc import Oidc, OidcOptions
from foreshock_dashboard.web.http.security import MAX_BODY_BYTES
from foreshock_dashboard.web.pages.now.verdict import verdict
from foreshock_dashboard.web.pages.services import data as services
from foreshock_dashboard.web.panels.service_charts import change_marks, requests
from foreshock_dashboard.web.shell import shell
from foreshock_dashboard.web.state.change_json import change_mark_rows

JSON = {"content-type": "application/json"}
VIEWER, RESPONDER = "v" * 32, "r" * 32
SECRET = b"a secret of enough bytes"
AT = {"timestamp": NOW - 60, "created_at": NOW - 60, "startedAt": NOW - 60}


@pytest.fixture
def hub() -> FakeHub:
    """A hub with an open incident."""
    return FakeHub(SCENES["contended"]())


@pytest.fixture(scope="module")
def open_hub() -> FakeHub:
    """A hub without authentication, for several tests."""
    return FakeHub(SCENES["contended"]())


@pytest.fixture(scope="module")
def client(open_hub: FakeHub) -> Caller:
    """A client of it."""
    return Caller(create_app(open_hub, version="0"))


def send(client: Caller, path: str, body: object, headers: dict[str, str] = JSON) -> httpx.Response:
    """Send a JSON body, or the bytes as they are."""
    return client.ask("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode(), headers)


def kept(hub: FakeHub) -> list[tuple[str, str]]:
    """The sender and the source of each entry of the journal."""
    return [(entry.by, entry.data["source"]) for entry in hub.journal.read("change")]


def dated(body: Any) -> Any:  # noqa: ANN401 - JSON
    """A body with its times one minute before the hub's."""
    if isinstance(body, dict):
        return {key: AT.get(key) or dated(value) for key, value in body.items()}
    return body


def signed(body: object, event: str = "deployment_status", secret: bytes = SECRET) -> tuple[bytes, dict[str, str]]:
    """A webhook of GitHub: its body and headers."""
    data = json.dumps(body).encode()
    signature = hmac.new(secret, data, sha256).hexdigest()
    return data, {**JSON, "x-github-event": event, "x-hub-signature-256": f"sha256={signature}"}


BINARY = {**JSON, "ce-specversion": "1.0", "ce-id": "7", "ce-source": "/ci", "ce-type": DEPLOYED}
ANNOTATION = {"text": "x", "time": 1000 * (NOW - 60), "tags": ["gateway", "v7.1"]}
STRUCTURED = {"content-type": "application/cloudevents+json; charset=utf-8"}


@pytest.mark.parametrize(
    ("path", "body", "headers", "shown"),
    [
        (
            "/api/changes",
            {"service": "chat", "after": "1.4.2", "revision": "5", "at": NOW - 60},
            JSON,
            ("api", "1.4.2"),
        ),
        ("/api/changes", dated(EVENT), STRUCTURED, ("cloudevents", "1.4.2")),
        ("/api/changes", dated(cdevent()), BINARY, ("cloudevents", "1.4.2")),
        ("/api/annotations", ANNOTATION, JSON, ("grafana", "v7.1")),
        (GITHUB_PATH, dated(ROLLED_OUT), signed({})[1], ("github", "v1.4.2")),
        ("/api/webhooks/argocd", dated(APPLICATION), JSON, ("argocd", "1.4.2")),
    ],
)
def test_a_reported_change_is_kept_once_and_listed_at_once(
    open_hub: FakeHub, client: Caller, path: str, body: object, headers: dict[str, str], shown: tuple[str, str]
) -> None:
    before = open_hub.journal.newest
    unique = json.dumps(body).replace("llm", f"llm-{before}").encode()  # those of one service would be one change
    for _ in range(2):
        answer = send(client, path, unique, headers)
        assert answer.status_code == 200, answer.text
        assert (answer.json()["change"]["source"], answer.json()["change"]["after"]) == shown
    [entry] = open_hub.journal.read("change", before)
    assert (entry.by, entry.data["source"], entry.at) == ("", shown[0], NOW - 60)
    assert answer.json()["change"] in client.get("/api/changes").json()["changes"]
    assert answer.json()["change"]["revision"] == (body.get("revision", "") if isinstance(body, dict) else "")


@pytest.mark.parametrize(
    ("path", "body", "headers", "text"),
    [
        ("/api/changes", b"{", JSON, "not JSON"),
        ("/api/changes", {"after": "1", "link": "javascript:alert(1)"}, JSON, "link: "),
        ("/api/changes", [EVENT], STRUCTURED, "one JSON object"),
        ("/api/changes", {}, {**JSON, "ce-type": DEPLOYED}, "ce-specversion: missing"),
        ("/api/annotations", {"tags": []}, JSON, "text: missing"),
        ("/api/webhooks/argocd", [], JSON, "body: "),
        ("/api/changes?x=1", {"after": "1"}, JSON, "x"),
    ],
)
def test_an_invalid_report_is_refused_by_the_field(
    open_hub: FakeHub, client: Caller, path: str, body: object, headers: dict[str, str], text: str
) -> None:
    before = open_hub.journal.newest
    answer = send(client, path, body, headers)
    assert answer.status_code == 400
    assert text in answer.json()["error"]
    assert open_hub.journal.newest == before


def test_a_webhook_without_the_right_signature_changes_nothing(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(SECRET + b"\n")
    access = Access(tokens=tokens(tmp_path), webhook_secret=webhook_secret(tmp_path / "secret"))
    client = Caller(create_app(hub, version="0", access=access))
    data, headers = signed(dated(ROLLED_OUT))
    for wrong in ("", "sha256=", "sha256=" + "0" * 64, headers["x-hub-signature-256"].upper(), "sha1=" + "0" * 40):
        assert send(client, GITHUB_PATH, data, {**headers, "x-hub-signature-256": wrong}).status_code == 403
    assert send(client, GITHUB_PATH, data + b" ", headers).status_code == 403
    assert send(client, GITHUB_PATH, b"not JSON, and not parsed", headers).status_code == 403
    assert send(client, GITHUB_PATH, b" " * (MAX_BODY_BYTES + 1), headers).status_code == 413
    assert kept(hub) == []
    assert send(client, GITHUB_PATH, data, headers).status_code == 200
    assert kept(hub) == [("github", "github")]
    assert send(client, GITHUB_PATH, *signed([])).status_code == 400
    assert [event["status"] for event in access.audit.recent()] == [400, 200, 403]


def test_wrong_signatures_have_a_limit_and_keep_no_right_one_out(hub: FakeHub, tmp_path: Path) -> None:
    """All are of one address, as behind a shared proxy; its login stays open as well."""
    (tmp_path / "oidc").write_text("secret")
    options = OidcOptions("https://issuer.example", "foreshock", tmp_path / "oidc")
    access = Access(
        oidc=Oidc(options, Roles(), AuditLog()), webhook_secret=lambda: SECRET, requests_per_minute=1, audit=AuditLog()
    )
    app = create_app(hub, version="0", access=access)
    (right, headers), wrong = signed({}, "ping"), b"{"

    async def answers() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, client=("10.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            bodies = [*[right] * (MIN_BURST_REQUESTS + 1), *[wrong] * (MIN_BURST_REQUESTS + 1), right]
            found = [await client.post(GITHUB_PATH, content=body, headers=headers) for body in bodies]
            return [*found, await client.get("/logout")]

    found = asyncio.run(answers())
    statuses = [answer.status_code for answer in found]
    assert statuses == [200] * (MIN_BURST_REQUESTS + 1) + [403] * MIN_BURST_REQUESTS + [429, 200, 200]
    late = found[-3]
    assert 0 < int(late.headers["retry-after"]) <= 60
    assert late.json() == {"error": "more than 1 requests per minute by 10.0.0.1. Retry later"}


def test_the_secret_of_webhooks_is_read_again_when_its_file_changes(hub: FakeHub, tmp_path: Path) -> None:
    path, new = tmp_path / "secret", b"another secret of enough bytes"
    path.write_bytes(SECRET)
    client = Caller(create_app(hub, version="0", access=Access(webhook_secret=webhook_secret(path))))
    path.write_bytes(new)
    os.utime(path, (1, 1))
    assert send(client, GITHUB_PATH, *signed({}, "ping")).status_code == 403
    assert send(client, GITHUB_PATH, *signed({}, "ping", new)).status_code == 200
    (tmp_path / "short").write_bytes(b"short")
    for unusable in ("short", "missing"):
        with pytest.raises(FileError):
            webhook_secret(tmp_path / unusable)


def tokens(folder: Path) -> Tokens:
    """Tokens of a viewer and a responder."""
    lines = [token_line("viewer", VIEWER), token_line("responder", RESPONDER)]
    (folder / "tokens").write_text("\n".join(lines))
    return Tokens(folder / "tokens")


def test_reports_need_the_role_responder_and_keep_the_name_of_the_sender(hub: FakeHub, tmp_path: Path) -> None:
    roles = Roles((("responder", Role.RESPONDER),))
    client = Caller(create_app(hub, version="0", access=Access(tokens=tokens(tmp_path), roles=roles)))
    paths = ("/api/changes", "/api/annotations", "/api/webhooks/argocd", GITHUB_PATH)
    for path, (token, status) in product(paths, (("", 401), (VIEWER, 403), (RESPONDER, 400))):
        headers = {**JSON, **({"authorization": f"Bearer {token}"} if token else {})}
        assert send(client, path, b"{", headers).status_code == status
        assert send(client, path, b"{", {**headers, "origin": "https://evil.example"}).status_code in (401, 403)
    body = {"after": "1", "title": "x", "author": "ada"}
    assert send(client, "/api/changes", body, {**JSON, "authorization": f"Bearer {RESPONDER}"}).status_code == 200
    assert kept(hub) == [("responder", "api")]


def test_a_hub_at_a_past_time_takes_no_report(hub: FakeHub) -> None:
    hub.snapshot = replace(hub.snapshot, bounds=(0.0, NOW))
    assert send(Caller(create_app(hub, version="0")), "/api/changes", {"after": "1"}).status_code == 409


def changed_hub(hub: FakeHub, *changes: Change) -> FakeHub:
    """A hub whose World has changes."""
    assert hub.snapshot.world is not None
    hub.snapshot = replace(hub.snapshot, world=replace(hub.snapshot.world, changes=changes))
    return hub


def before_incident(hub: FakeHub, seconds: float) -> float:
    """A time before the first anomaly."""
    return hub.snapshot.incidents[0].since - seconds


def test_now_counts_the_changes_before_an_incident_and_the_postmortem_lists_them(hub: FakeHub) -> None:
    titles = ["<b>bold</b>", "[a](javascript:b)", "plain"]
    changes = [
        Change(before_incident(hub, 300 - number), "other", title=title, author="ada", link="https://ci.example/1")
        for number, title in enumerate(titles)
    ]
    changed_hub(hub, *changes)
    situation = verdict(hub.snapshot).situation
    assert situation is not None
    texts = ["".join(clause.text for clause in row) for row in situation["changes"] or ()]
    assert [text.split(",")[0] for text in texts] == titles[::-1]
    world = hub.snapshot.world
    assert world is not None
    markdown = report(world, hub.snapshot.incidents[0]).markdown
    assert markdown.count("https://ci.example/1") == len(titles)
    assert "by ada, reported by the API" in markdown.replace("\\", "")
    assert "<b>" not in markdown
    assert "[a](" not in markdown


def test_changes_of_a_past_time_are_those_until_then(hub: FakeHub) -> None:
    changed_hub(hub, Change(NOW - 600, "other", title="early"), Change(NOW - 10, "other", title="late"))
    client = Caller(create_app(hub, version="0"))
    listed = client.get(f"/api/changes?at={NOW - 300}").json()["changes"]
    assert [row["title"] for row in listed] == ["early"]


def test_changes_are_listed_once_and_as_failed_before_the_next_evaluation(hub: FakeHub) -> None:
    """The World has them merged, and so with the version of the spans; the journal has what was reported since."""
    chat = service("llm-chat")
    begun = Change(NOW - 300, "deployment", chat, after="v1.4.2", source="github", key="github:a/llm:7")
    spans = Change(NOW - 240, "deployment", chat, before="1.4.1", after="1.4.2", source="traces")
    image = Change(NOW - 250, "deployment", chat, before="sha-1", after="sha-2", source="kubernetes")
    changed_hub(hub, *merged_changes([begun, spans, image]))
    assert hub.snapshot.world is not None
    hub.snapshot = replace(hub.snapshot, world=replace(hub.snapshot.world, collected=frozenset((begun, spans, image))))
    for change in (begun, image, replace(begun, at=NOW - 60, failed_at=NOW - 60)):
        hub.journal.append("change", change.at, "github", change_labels(change))
    listed = Caller(create_app(hub, version="0")).get("/api/changes").json()["changes"]
    assert [row["text"] for row in listed] == [f"{chat} 1.4.1 → 1.4.2 (failed)"]


def test_charts_and_timelines_mark_changes_of_their_services(hub: FakeHub) -> None:
    """A sign with a tooltip in which markup of a sender is text; of other services none."""
    gateway, other = service("gateway"), service("auth")
    hostile = Change(NOW - 200, "deployment", gateway, before="1", after="<b>2</b>", source="github", author="ada")
    changed_hub(
        hub, hostile, Change(NOW - 100, "deployment", other, after="7"), Change(NOW - 50, "other", title="flag")
    )
    world = hub.snapshot.world
    assert world is not None
    chart = requests(
        world, gateway, Look(LIGHT), (NOW - 900, NOW), change_marks(world.changes, {gateway}, (NOW - 900, NOW))
    )
    signs = [(item["text"], item["hovertext"].split("<br>")[0]) for item in chart["layout"]["annotations"]]
    assert signs == [
        (CHANGE_SIGN, "gateway 1 → &lt;b&gt;2&lt;/b&gt; (by ada, reported by GitHub)"),
        (f"{CHANGE_SIGN} change", "flag (reported by the API)"),
    ]
    page = services.service(hub.snapshot, gateway)
    assert [mark.text for mark in page["changes"]] == ["gateway 1 → <b>2</b>", "flag"]
    assert [mark.service for mark in change_mark_rows(world.changes, NOW - 900, NOW)] == ["gateway", "auth", None]


def test_the_charts_of_a_gpu_of_traces_and_of_the_postmortem_mark_changes(hub: FakeHub) -> None:
    """On those of a GPU, of its services and its host; on those of a service, of it and of the platform."""
    world, incident = hub.snapshot.world, hub.snapshot.incidents[0]
    assert world is not None
    gpu, tenant = world.tenants[0].gpu, world.tenants[0].service
    changes = (
        Change(NOW - 240, "deployment", tenant, before="1", after="2"),
        Change(NOW - 200, "driver", host=gpu.host, setting="driver", before="550", after="560", source="exporter"),
        Change(NOW - 180, "driver", host="another-host", setting="driver", before="550", after="560"),
        Change(NOW - 160, "other", title="flag"),
        Change(NOW - 140, "deployment", service("auth"), after="7"),
        Change(NOW - 120, "deployment", incident.service, before="3", after="4"),
    )
    world = replace(world, changes=changes)
    span = (NOW - 900, NOW)

    def texts(marks: Sequence[Mark]) -> list[str]:
        return [mark.details.split(" (")[0] for mark in marks]

    on_gpu = {each.service for each in world.tenants if each.gpu == gpu}
    shown = texts(change_marks(changes, on_gpu, span, gpu.host))
    assert f"{gpu.host} driver 550 → 560" in shown
    assert "another-host driver 550 → 560" not in shown
    assert "flag" in shown
    layout: Json = {"annotations": [{"text": "note"}]}
    draw_marks(layout, change_marks(changes, on_gpu, span, gpu.host), Look(LIGHT), span)
    signs = [*[CHANGE_SIGN] * (len(shown) - 1), f"{CHANGE_SIGN} change"]
    assert [item["text"] for item in layout["annotations"]] == ["note", *signs]
    plots = dict(incident_plots(world, incident, incident.since, NOW))
    assert f"{CHANGE_SIGN} {incident.service} 3 → 4" in plots["latency"]
    assert "auth 7" not in plots["latency"]


def test_the_sign_of_a_change_is_one() -> None:
    script = (Path(shell.__file__).parents[1] / "assets" / "timeline" / "signs.js").read_text()
    assert f'CHANGE_SIGN = "{CHANGE_SIGN}"' in script
