"""Authentication by itself: what is passed on, refused, and limited, and what the audit log has."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from tests.web.caller import basic
from tests.web.roles import ROLES, events

from foreshock_dashboard.access.audit import AuditLog
from foreshock_dashboard.access.rate_limit import MIN_BURST_REQUESTS, RateLimit
from foreshock_dashboard.access.roles import Principal, Role, required_role
from foreshock_dashboard.access.tokens import Tokens, token_line
from foreshock_dashboard.access.users import Users
from foreshock_dashboard.web.http.authentication import (
    GITHUB_PATH,
    MAX_CLIENT_CHECKS,
    MAX_CONCURRENT_CHECKS,
    MAX_WAITING_CHECKS,
    Access,
    Authenticated,
)
from foreshock_dashboard.web.http.oidc import (
    SESSION_SECONDS,
    Oidc,
)

ADA, BOB, EVE = (f"Bearer {name}-0123456789abcdef" for name in ("ada", "bob", "eve"))
PAGE = {"accept": "text/html,*/*"}


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    """Tokens of an admin, a responder, and a viewer."""
    lines = [token_line(header[7:10], header.removeprefix("Bearer ")) for header in (ADA, BOB, EVE)]
    (tmp_path / "tokens").write_text("\n".join(lines))
    return Tokens(tmp_path / "tokens")


class Inner:
    """The app behind the authentication: it shows what it was given."""

    status = 200

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the principal and its role."""
        principal, role = scope.get("principal"), scope.get("role")
        content = {"principal": principal and [principal.name, principal.method], "role": role and role.name}
        await JSONResponse(content, self.status)(scope, receive, send)


Asked = tuple[str, str, Mapping[str, str]]


def ask(app: Any, *requests: Asked, peer: str = "10.0.0.9", session: object = None) -> list[httpx.Response]:  # noqa: ANN401
    """Send requests, each of (method, path, headers), one after the other."""

    async def with_session(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "session": session or {}}, receive, send)

    async def asked() -> list[httpx.Response]:
        transport = httpx.ASGITransport(with_session, client=(peer, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return [await client.request(method, path, headers=headers) for method, path, headers in requests]

    return asyncio.run(asked())


def statuses(answers: Sequence[httpx.Response]) -> list[int]:
    """The status of each."""
    return [answer.status_code for answer in answers]


def test_the_app_knows_who_asks_and_the_audit_log_what_was_changed(tokens: Tokens) -> None:
    audit, inner = AuditLog(now=lambda: 1234.56789), Inner()
    app = Authenticated(inner, Access(tokens, roles=ROLES, audit=audit))
    inner.status = 202
    found = ask(
        app,
        ("GET", "/api/now", {"authorization": EVE}),
        ("GET", "/api/csv/gpus", {"authorization": EVE}),
        ("POST", "/api/x", {"authorization": BOB}),
        ("GET", "/api/audit", {"authorization": ADA}),
        ("GET", "/api/report/now", {"authorization": EVE}),
        ("POST", "/mcp", {"authorization": EVE}),
    )
    assert statuses(found) == [202] * 6
    assert [answer.json() for answer in found[:4]] == [
        {"principal": ["eve", "token"], "role": "VIEWER"},
        {"principal": ["eve", "token"], "role": "VIEWER"},
        {"principal": ["bob", "token"], "role": "RESPONDER"},
        {"principal": ["ada", "token"], "role": "ADMIN"},
    ]
    assert events(audit) == [
        ("sign_in", "eve", "token", "viewer", "10.0.0.9", "GET /api/now", 200),
        ("download", "eve", "token", "viewer", "10.0.0.9", "GET /api/csv/gpus", 202),
        ("sign_in", "bob", "token", "responder", "10.0.0.9", "POST /api/x", 200),
        ("change", "bob", "token", "responder", "10.0.0.9", "POST /api/x", 202),
        ("sign_in", "ada", "token", "admin", "10.0.0.9", "GET /api/audit", 200),
        ("download", "ada", "token", "admin", "10.0.0.9", "GET /api/audit", 202),
        ("download", "eve", "token", "viewer", "10.0.0.9", "GET /api/report/now", 202),
    ]
    assert audit.recent()[0]["time"] == 1234.568


def test_a_role_that_does_not_suffice_is_refused_by_name(tokens: Tokens) -> None:
    audit = AuditLog()
    app = Authenticated(Inner(), Access(tokens, roles=ROLES, audit=audit))
    requests = [
        ("POST", "/api/x", {"authorization": EVE}),
        ("GET", "/api/audit", {"authorization": BOB}),
    ]
    found = ask(app, *requests)
    assert statuses(found) == [403, 403]
    assert [answer.json()["error"] for answer in found] == [
        "eve has role viewer, and this needs responder. See --roles",
        "bob has role responder, and this needs admin. See --roles",
    ]
    assert events(audit) == [
        ("denied", "eve", "token", "viewer", "10.0.0.9", "POST /api/x", 403),
        ("denied", "bob", "token", "responder", "10.0.0.9", "GET /api/audit", 403),
    ]


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        *((method, "/api/now", Role.VIEWER) for method in ("GET", "HEAD", "OPTIONS")),
        *((method, "/api/now", Role.RESPONDER) for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT")),
        ("POST", "/_dash-update-component", Role.VIEWER),
        ("POST", "/mcp", Role.VIEWER),
        ("GET", "/api/audit", Role.ADMIN),
        ("POST", "/api/audit", Role.ADMIN),
        ("POST", "/mcp/x", Role.RESPONDER),
    ],
)
def test_a_request_that_may_change_something_needs_more_than_one_that_reads(method: str, path: str, role: Role) -> None:
    assert required_role(method, path) is role


def test_requests_above_the_rate_get_the_time_to_retry_after(tokens: Tokens) -> None:
    """One token's do not count for another."""
    audit = AuditLog()
    app = Authenticated(Inner(), Access(tokens, audit=audit, requests_per_minute=1))
    app._limit = RateLimit(1, lambda: 0.0)
    found = ask(
        app, *[("GET", "/", {"authorization": EVE})] * (MIN_BURST_REQUESTS + 1), ("GET", "/", {"authorization": BOB})
    )
    assert statuses(found) == [200] * MIN_BURST_REQUESTS + [429, 200]
    late = found[-2]
    assert late.json()["error"] == "more than 1 requests per minute by eve. Retry later"
    assert late.headers["retry-after"] == "60"
    assert events(audit)[1] == ("rate_limited", "eve", "token", "viewer", "10.0.0.9", "GET /", 429)


@pytest.mark.parametrize("required", [True, False], ids=["with authentication", "without"])
def test_a_signature_counts_only_if_it_is_wrong_and_a_login_always(tokens: Tokens, login: Oidc, required: bool) -> None:
    """Webhooks need no credentials where there is a secret; the app behind checks it."""
    inner = Inner()
    methods = Access(tokens, oidc=login) if required else Access()
    access = replace(methods, webhook_secret=lambda: b"secret", requests_per_minute=1)
    app = Authenticated(inner, access)
    app._limit = RateLimit(1, lambda: 0.0)
    hook: Asked = ("POST", GITHUB_PATH, {})
    assert statuses(ask(app, *[hook] * (MIN_BURST_REQUESTS + 1))) == [200] * (MIN_BURST_REQUESTS + 1)
    inner.status = 403
    found = ask(app, *[hook] * (MIN_BURST_REQUESTS + 2))
    assert statuses(found) == [403] * MIN_BURST_REQUESTS + [429] * 2
    assert found[-1].headers["retry-after"] == "60"
    assert found[-1].json() == {"error": "more than 1 requests per minute by 10.0.0.9. Retry later"}
    assert statuses(ask(app, hook, peer="10.0.0.8")) == [403]
    inner.status = 200
    assert statuses(ask(app, hook)) == [200]
    if required:
        found = ask(app, *[("GET", "/login", {})] * (MIN_BURST_REQUESTS + 1))
        assert statuses(found) == [200] * MIN_BURST_REQUESTS + [429]
        assert statuses(ask(app, ("GET", "/login", {}), peer="10.0.0.8")) == [200]


def test_where_only_a_proxy_can_authenticate_there_is_no_scheme_to_offer() -> None:
    [refused] = ask(Authenticated(Inner(), Access(header="X-User", proxies=NETWORKS)), ("GET", "/", {"x-user": "ada"}))
    assert (refused.status_code, "www-authenticate" in refused.headers) == (403, False)
    assert refused.json() == {"error": "authentication required: open the address of the authenticating proxy"}


def test_without_authentication_all_is_passed_on_and_nothing_recorded() -> None:
    audit = AuditLog()
    found = ask(
        Authenticated(Inner(), Access(audit=audit)), ("POST", "/api/x", {}), ("GET", "/", {"authorization": "x"})
    )
    assert [answer.json() for answer in found] == [{"principal": None, "role": None}] * 2
    assert events(audit) == []


def test_what_is_no_http_request_is_passed_on(tokens: Tokens) -> None:
    """Such as the start and the end of the server."""
    seen: list[str] = []

    async def inner(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    async def nothing(*_: object) -> Any:  # noqa: ANN401
        return {}

    asyncio.run(Authenticated(inner, Access(tokens))({"type": "lifespan"}, nothing, nothing))
    assert seen == ["lifespan"]


def test_health_needs_no_credentials_and_what_is_beside_it_does(tokens: Tokens) -> None:
    paths = ("/healthz", "/readyz", "/healthz/", "/readyz/x", "//healthz", GITHUB_PATH, "/login")
    found = ask(Authenticated(Inner(), Access(tokens)), *(("GET", path, {}) for path in paths))
    assert statuses(found) == [200, 200, 401, 401, 401, 401, 401]


def test_a_wrong_credential_is_recorded_and_a_missing_one_is_not(tokens: Tokens, users: Users) -> None:
    audit = AuditLog()
    app = Authenticated(Inner(), Access(tokens, users, audit=audit))
    headers = ("", "Bearer wrong", basic("known", "wrong"), basic("unknown", "x"), basic("other", "x"))
    found = ask(app, *(("GET", "/", {"authorization": value} if value else {}) for value in headers))
    assert statuses(found) == [401] * 5
    assert found[0].headers.get_list("www-authenticate") == ['Basic realm="foreshock", charset="UTF-8"', "Bearer"]
    assert events(audit) == [
        ("sign_in_failed", "", "", "", "10.0.0.9", "GET /", 401),
        ("sign_in_failed", "known", "", "", "10.0.0.9", "GET /", 401),
    ], "names that do not exist are one event with those without a name"


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Users:
    """A file with one user, whose password is `right`; no hash is computed."""
    (tmp_path / "users").write_text(f"known:$2b$04${'a' * 53}\n")
    made = Users(tmp_path / "users")
    monkeypatch.setattr(made, "known", lambda _: False)
    monkeypatch.setattr(made, "check", lambda given, _: "right" if given == basic("known", "right") else "wrong")
    return made


def test_a_password_and_a_token_each_suffice(tokens: Tokens, users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password that was right before is not checked again."""
    app = Authenticated(Inner(), Access(tokens, users))
    right = ("GET", "/", {"authorization": basic("known", "right")})
    found = ask(app, right, ("GET", "/", {"authorization": EVE}))
    assert [answer.json()["principal"] for answer in found] == [["known", "password"], ["eve", "token"]]
    monkeypatch.setattr(users, "check", lambda *_: "busy")
    [busy] = ask(app, right)
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "5")
    assert busy.json() == {"error": "too many concurrent password checks. Retry in 5 s"}
    monkeypatch.setattr(users, "known", lambda _: True)
    assert ask(app, right)[0].json()["principal"] == ["known", "password"]


def test_password_checks_have_a_limit_for_each_client_and_for_all(users: Users) -> None:
    """Beyond it the answer comes at once; afterwards there is room again."""
    app = Authenticated(Inner(), Access(basic=users))

    def check(client: int) -> asyncio.Task[str]:
        return asyncio.create_task(app._check(users, basic("known", "right"), f"10.0.0.{client}"))

    async def checks() -> list[str]:
        for _ in range(MAX_CONCURRENT_CHECKS):
            app._room.acquire_on_behalf_of_nowait(object())
        crowd = [check(number // MAX_CLIENT_CHECKS) for number in range(MAX_WAITING_CHECKS - 1)]
        while app._room.statistics().tasks_waiting < MAX_WAITING_CHECKS - 1:
            await asyncio.sleep(0)
        assert await asyncio.wait_for(check(0), 30) == "busy"
        crowd.append(check(99))
        while app._room.statistics().tasks_waiting < MAX_WAITING_CHECKS:
            await asyncio.sleep(0)
        assert await asyncio.wait_for(check(100), 30) == "busy"
        for borrower in app._room.statistics().borrowers:
            app._room.release_on_behalf_of(borrower)
        done = await asyncio.gather(*crowd)
        return [*done, *[await check(0) for _ in range(MAX_CLIENT_CHECKS + 1)]]

    assert asyncio.run(checks()) == ["right"] * (MAX_WAITING_CHECKS + MAX_CLIENT_CHECKS + 1)
    assert not app._checks


NETWORKS = (ipaddress.ip_network("10.0.0.0/30"), ipaddress.ip_network("fe80::/64"))


@pytest.mark.parametrize(
    ("peer", "values", "user"),
    [
        ("10.0.0.1", ["ada"], "ada"),
        ("::ffff:10.0.0.1", [" ada "], "ada"),
        ("fe80::1%eth0", ["ada"], "ada"),
        ("10.0.0.1", ["", " ", "bob", "ada"], "bob"),
        ("10.0.0.1", [], ""),
        ("10.0.0.4", ["ada"], ""),
        ("::ffff:10.0.0.4", ["ada"], ""),
        ("fe81::1", ["ada"], ""),
        ("unix", ["ada"], ""),
        ("", ["ada"], ""),
    ],
)
def test_a_proxy_s_user_is_the_first_name_in_its_header(peer: str, values: list[str], user: str) -> None:
    headers = Headers(raw=[(b"x-user", value.encode()) for value in values])
    assert Access(header="X-User", proxies=NETWORKS).proxy_user(peer, headers) == user
    assert Access(proxies=NETWORKS).proxy_user(peer, headers) == ""


def test_each_method_alone_makes_credentials_required(tokens: Tokens, users: Users, login: Oidc) -> None:
    methods = (Access(), Access(tokens), Access(basic=users), Access(header="X"), Access(oidc=login))
    assert [access.required for access in methods] == [False, True, True, True, True]


@pytest.mark.parametrize("path", ["/", "/services/a?at=now-5m&x=%20y"])
def test_a_browser_without_a_session_is_led_to_the_login_and_back(login: Oidc, path: str) -> None:
    app = Authenticated(Inner(), Access(oidc=login))
    [page] = ask(app, ("GET", path, PAGE))
    assert (page.status_code, page.headers["cache-control"]) == (303, "no-store")
    target = httpx.URL(page.headers["location"])
    assert (target.path, target.params["next"]) == ("/login", path)
    others = ask(app, ("GET", "/", {"accept": "application/json"}), ("POST", "/", PAGE), ("GET", "/", {}))
    assert statuses(others) == [401] * 3
    assert others[0].json() == {"error": "authentication required: sign in at /login, or send a bearer token"}
    assert "www-authenticate" not in others[0].headers


def test_a_session_opens_the_page_and_a_credential_goes_before_it(login: Oidc, tokens: Tokens) -> None:
    session = {"user": "ada", "groups": ["sre"], "since": time.time()}
    app = Authenticated(Inner(), Access(tokens, oidc=login, roles=ROLES))
    requests = (("GET", "/", PAGE), ("GET", "/", {**PAGE, "authorization": BOB}), ("GET", "/", {"authorization": "x"}))
    found = ask(app, *requests, session=session)
    assert statuses(found) == [200, 200, 401]
    assert [answer.json()["principal"] for answer in found[:2]] == [["ada", "oidc"], ["bob", "token"]]


@pytest.mark.parametrize(
    ("age", "valid"), [(0, True), (SESSION_SECONDS - 5, True), (SESSION_SECONDS, False), (-60, False)]
)
def test_a_session_lasts_eight_hours(login: Oidc, age: float, valid: bool) -> None:
    """One of the future is none."""
    session = {"user": "ada", "groups": ["out", "sre"], "since": time.time() - age}
    assert login.principal(session) == (Principal("ada", "oidc", ("out", "sre")) if valid else None)
    assert login.principal({}) is None


def test_sessions_end_with_the_client_secret(login: Oidc, tmp_path: Path) -> None:
    """Their key is derived from it, and is the same on all replicas."""
    assert login.session_key() == hmac.digest(b"secret", b"foreshock session", hashlib.sha256)
    (tmp_path / "oidc").write_text("rotated")
    assert login.session_key() == hmac.digest(b"rotated", b"foreshock session", hashlib.sha256)
