"""What people do about incidents, verb by verb: which role may, over the API, the command line, and a cookie."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from itsdangerous import TimestampSigner
from tests.web.caller import Caller
from tests.web.worlds import SCENES, FakeHub

from foreshock_dashboard.access.audit import AuditLog
from foreshock_dashboard.access.roles import Role, Roles
from foreshock_dashboard.access.tokens import Tokens, token_line
from foreshock_dashboard.cli.main import main
from foreshock_dashboard.response import entries
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.http.authentication import Access
from foreshock_dashboard.web.http.oidc import Oidc, OidcOptions
from foreshock_dashboard.web.http.server import WebServer


class Verb(NamedTuple):
    """A request that changes something, and the command that sends it. `{incident}`, `{silence}`: ids."""

    method: str
    path: str
    body: dict[str, object]
    command: tuple[str, ...]


_FEEDBACK: dict[str, object] = {"verdict": "wrong_cause", "cause": "network", "service": "ml/x"}
_WRONG = ("incident", "feedback", "latest", "wrong-cause", "--cause", "network", "--service", "ml/x")
VERBS = {
    "ack": Verb("POST", "/api/incidents/{incident}/acknowledge", {}, ("incident", "ack", "latest")),
    "withdraw": Verb(
        "POST",
        "/api/incidents/{incident}/acknowledge",
        {"acknowledged": False},
        ("incident", "ack", "latest", "--withdraw"),
    ),
    "assign": Verb(
        "POST", "/api/incidents/{incident}/assign", {"assignee": "eve"}, ("incident", "assign", "latest", "eve")
    ),
    "note": Verb("POST", "/api/incidents/{incident}/notes", {"text": "seen"}, ("incident", "note", "latest", "seen")),
    "feedback": Verb("POST", "/api/incidents/{incident}/feedback", _FEEDBACK, _WRONG),
    "silence an incident": Verb(
        "POST",
        "/api/incidents/{incident}/silence",
        {"duration": "1h"},
        ("incident", "silence", "latest", "--for", "1h"),
    ),
    "silence a service": Verb(
        "POST",
        "/api/silences",
        {"service": "serving/llm", "duration": "1h"},
        ("silence", "create", "--service", "serving/llm", "--for", "1h"),
    ),
    "silence a GPU pair": Verb(
        "POST",
        "/api/silences",
        {"service": "serving/llm", "noisy_neighbor": "ml/x", "duration": "1h"},
        ("silence", "create", "--service", "serving/llm", "--noisy-neighbor", "ml/x", "--for", "1h"),
    ),
    "maintenance window": Verb(
        "POST", "/api/maintenance", {"duration": "1h"}, ("silence", "create", "--maintenance", "--for", "1h")
    ),
    "end a silence": Verb("DELETE", "/api/silences/{silence}", {}, ("silence", "end", "{silence}")),
}
each_verb = pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
JSON = {"content-type": "application/json"}


class Site(NamedTuple):
    """A hub with an open incident, a token and a session for each role, and its address."""

    hub: FakeHub
    client: Caller
    url: str
    folder: Path
    oidc: Oidc

    def path(self, verb: Verb) -> str:
        return verb.path.format(incident=self.hub.snapshot.incidents[0].id, silence=self._silence(verb))

    def command(self, verb: Verb) -> list[str]:
        silence = self._silence(verb)
        return [word.format(silence=silence) for word in verb.command]

    def _silence(self, verb: Verb) -> int:
        """The id of a new silence, where one is to be ended."""
        if "{silence}" not in verb.path:
            return 0
        target = entries.silence(self.hub.now(), self.hub.now() + 600.0, incident=self.hub.snapshot.incidents[0].id)
        return self.hub.journal.append("incident", self.hub.now(), "eve", target)

    def sent(self, verb: Verb, headers: dict[str, str]) -> tuple[int, int]:
        """Send the request of a verb; its status, and the number of new entries in the journal."""
        path, before = self.path(verb), self.hub.journal.newest
        status = self.client.ask(verb.method, path, json.dumps(verb.body).encode(), {**JSON, **headers}).status_code
        return status, len(self.hub.journal.read(after=before))

    def cookie(self, role: Role) -> dict[str, str]:
        """The cookie of a browser in which a user of this role signed in at the OpenID provider."""
        session = {"user": role.name, "groups": [], "since": time.time()}
        signed = TimestampSigner(self.oidc.session_key()).sign(base64.b64encode(json.dumps(session).encode()))
        return {"cookie": f"foreshock={signed.decode()}"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Users are named after their role."""
    folder, hub, audit = tmp_path_factory.mktemp("verbs"), FakeHub(SCENES["contended"]()), AuditLog()
    roles = Roles(tuple((role.name, role) for role in Role))
    for role in Role:
        (folder / f"{role.name}.yml").write_text(f"authorization: {{credentials: secret{role.name}}}")
    (folder / "tokens").write_text("".join(f"{token_line(role.name, f'secret{role.name}')}\n" for role in Role))
    (folder / "client").write_text("client-secret\n")
    oidc = Oidc(OidcOptions("https://id.example.com", "foreshock", folder / "client"), roles, audit)
    app = create_app(hub, version="0", access=Access(Tokens(folder / "tokens"), oidc=oidc, roles=roles, audit=audit))
    with closing(WebServer(app, "127.0.0.1", 0)) as server:
        server.start()
        yield Site(hub, Caller(app), server.url, folder, oidc)


def test_every_request_that_changes_something_is_a_verb_or_reports_a_change(site: Site) -> None:
    paths = site.client.app.openapi()["paths"]
    changing = {
        (method.upper(), path) for path, item in paths.items() for method in item if method not in ("get", "head")
    }
    reports = {("POST", f"/api/{name}") for name in ("annotations", "changes", "webhooks/argocd", "webhooks/github")}
    known = {(verb.method, verb.path.replace("{silence}", "{silence_id}")) for verb in VERBS.values()}
    assert changing == known | reports


@each_verb
def test_a_responder_may_and_a_viewer_may_not_by_token_and_by_cookie(site: Site, verb: Verb) -> None:
    for role in Role:
        expected = (200, 1) if role >= Role.RESPONDER else (403, 0)
        assert site.sent(verb, {"authorization": f"Bearer secret{role.name}"}) == expected, role
        assert site.sent(verb, {**site.cookie(role), "sec-fetch-site": "same-origin"}) == expected, role
    assert site.sent(verb, {}) == (401, 0)
    assert site.sent(verb, {"authorization": "Bearer wrong"}) == (401, 0)


@each_verb
@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
    ],
    ids=str,
)
def test_a_page_of_another_site_changes_nothing_with_the_cookie_of_a_responder(
    site: Site, verb: Verb, headers: dict[str, str]
) -> None:
    assert site.sent(verb, {**site.cookie(Role.ADMIN), **headers}) == (403, 0)


@each_verb
def test_the_command_of_a_viewer_fails_and_that_of_a_responder_succeeds(
    site: Site, verb: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    for role in Role:
        command, before = site.command(verb), site.hub.journal.newest
        code = main([*command, "--from", site.url, "--http-config", str(site.folder / f"{role.name}.yml")])
        written = len(site.hub.journal.read(after=before))
        assert (code, written) == ((0, 1) if role >= Role.RESPONDER else (1, 0)), role
        if role is Role.VIEWER:
            assert "has role viewer, and this needs responder" in capsys.readouterr().err


def test_the_real_server_refuses_a_cross_site_form(site: Site) -> None:
    """As a browser posts one: it cannot set the content type of JSON."""
    url = site.url.rstrip("/") + f"/api/incidents/{site.hub.snapshot.incidents[0].id}/acknowledge"
    headers = {**site.cookie(Role.RESPONDER), "origin": "https://evil.example"}
    assert httpx.post(url, data={"by": "x"}, headers=headers, trust_env=False).status_code == 403
