"""Authentication and the login by themselves: what is passed on, refused, limited, and in the audit log."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import httpx
import pytest
from cachetools import TTLCache
from fastapi import FastAPI, Request
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import Receive, Scope, Send

from foreshock_dashboard.access import audit as audit_module
from foreshock_dashboard.access.audit import AuditLog
from foreshock_dashboard.access.rate_limit import MIN_BURST_REQUESTS, RateLimit
from foreshock_dashboard.access.roles import Principal, Role, Roles, required_role
from foreshock_dashboard.access.tokens import Tokens, token_line
from foreshock_dashboard.access.users import MAX_USERS_FILE_BYTES, Users
from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.web.http import oidc as oidc_module
from foreshock_dashboard.web.http.authentication import (
    GITHUB_PATH,
    MAX_CLIENT_CHECKS,
    MAX_CONCURRENT_CHECKS,
    MAX_WAITING_CHECKS,
    Access,
    Authenticated,
)
from foreshock_dashboard.web.http.oidc import (
    MAX_NEXT_BYTES,
    MAX_PENDING_LOGINS,
    SESSION_SECONDS,
    Oidc,
    OidcOptions,
)

ADA, BOB, EVE = (f"Bearer {name}-0123456789abcdef" for name in ("ada", "bob", "eve"))
ROLES = Roles((("ada", Role.ADMIN), ("bob", Role.RESPONDER), ("group:out", Role.NONE)))
PAGE = {"accept": "text/html,*/*"}


def basic(user: str, password: str) -> str:
    """An Authorization header with a password."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    """Tokens of an admin, a responder, and a viewer."""
    lines = [token_line(header[7:10], header.removeprefix("Bearer ")) for header in (ADA, BOB, EVE)]
    (tmp_path / "tokens").write_text("\n".join(lines))
    return Tokens(tmp_path / "tokens")


@pytest.fixture
def login(tmp_path: Path) -> Oidc:
    """A login at a provider that is not asked."""
    (tmp_path / "oidc").write_text("secret")
    options = OidcOptions("https://issuer.example", "foreshock", tmp_path / "oidc")
    return Oidc(options, ROLES, AuditLog())


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


def events(audit: AuditLog) -> list[tuple[object, ...]]:
    """What the audit log has, oldest first, without times."""
    return [tuple(event.values())[1:] for event in reversed(audit.recent())]


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


@pytest.mark.parametrize(
    ("claims", "claim", "user"),
    [
        ({"email": "a@b"}, "email", "a@b"),
        ({"email": "a@b", "email_verified": True}, "email", "a@b"),
        ({"email": "a@b", "email_verified": "true"}, "email", "a@b"),
        ({"email": "a@b", "email_verified": False}, "email", None),
        ({"email": "a@b", "email_verified": "false"}, "email", None),
        ({"email": "a@b", "email_verified": None}, "email", None),
        ({"name": "ada", "email_verified": False}, "name", "ada"),
        ({"name": "ada"}, "email", None),
        ({"name": ""}, "name", None),
        ({"name": 7}, "name", None),
        ({"name": "a\nb"}, "name", None),
    ],
)
def test_a_user_has_a_printable_name_and_a_verified_address(
    claims: dict[str, object], claim: str, user: str | None
) -> None:
    if user is None:
        with pytest.raises(ValueError, match=r"claim|verified"):
            oidc_module._user(claims, claim)
    else:
        assert oidc_module._user(claims, claim) == user


@pytest.mark.parametrize(
    ("value", "texts"), [("a", {"a"}), (["a", "b", 7, None], {"a", "b"}), (None, set()), ({"a": 1}, set()), ([], set())]
)
def test_groups_are_the_texts_of_a_claim(value: object, texts: set[str]) -> None:
    assert oidc_module._texts(value) == texts


def test_pages_to_return_to_are_the_newest_that_fit_into_the_cookie() -> None:
    many = {f"state{number}": "/" for number in range(5)}
    assert list(oidc_module._bounded(many)) == [f"state{number}" for number in range(5 - MAX_PENDING_LOGINS, 5)]
    long = {"a": "/", "b": "/" + "x" * (MAX_NEXT_BYTES - len('{"b": "/"}'))}
    assert oidc_module._bounded(long) == {"b": long["b"]}
    assert oidc_module._bounded({"a": "/", "b": long["b"] + "x"}) == {}
    assert [oidc_module._returns({"next": value}) for value in ({"a": "/"}, "/old", None)] == [{"a": "/"}, {}, {}]


class Client:
    """The part of Authlib's client that the login uses, without a provider behind it."""

    def __init__(self, claims: Mapping[str, object], more: Mapping[str, object] | None = None) -> None:
        self.server_metadata: dict[str, object] = {"issuer": "https://issuer.example/"}
        if more is not None:
            self.server_metadata["userinfo_endpoint"] = "https://issuer.example/userinfo"
        self._claims, self._more = claims, more
        self.client_secret = ""
        self.redirects: list[str] = []
        self.expected: object = None

    async def load_server_metadata(self) -> Mapping[str, object]:
        """What the provider says of itself."""
        return self.server_metadata

    async def authorize_redirect(self, request: Request, redirect_uri: str, state: str) -> RedirectResponse:
        """Lead to the provider; of the pending logins, Authlib keeps the newest alone."""
        self.redirects.append(redirect_uri)
        for key in [key for key in request.session if key.startswith("_state_oidc_")]:
            del request.session[key]
        request.session[f"_state_oidc_{state}"] = {"exp": len(self.redirects)}
        return RedirectResponse("https://issuer.example/authorize", 302)

    async def authorize_access_token(self, request: Request, claims_options: object) -> Mapping[str, object]:
        """The tokens of a user who has signed in."""
        if f"_state_oidc_{request.query_params.get('state')}" not in request.session:
            raise ValueError("mismatching state")
        self.expected = claims_options
        return {"userinfo": self._claims}

    async def userinfo(self, token: object) -> Mapping[str, object]:
        """More claims."""
        del token
        return self._more or {}


CLAIMS = {"sub": "1", "email": "ada@x", "email_verified": True, "groups": ["out", "other"]}


def visit(login: Oidc, session: dict[str, Any], path: str) -> httpx.Response:
    """Open a page of the login with a session, which it may change."""
    app = FastAPI()
    login.register(app)

    async def with_session(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "session": session}, receive, send)

    async def visited() -> httpx.Response:
        transport = httpx.ASGITransport(with_session, client=("10.0.0.9", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://hub.example") as client:
            return await client.get(path)

    return asyncio.run(visited())


def pending(session: Mapping[str, Any]) -> list[str]:
    """The states of logins that have begun."""
    return [key.removeprefix("_state_oidc_") for key in session if key.startswith("_state_oidc_")]


def with_client(login: Oidc, client: Client, roles: Roles = Roles()) -> AuditLog:  # noqa: B008 - frozen
    """Give a login another client and roles; its audit log."""
    audit = AuditLog()
    vars(login).update(_client=client, _roles=roles, _audit=audit)
    return audit


def test_the_newest_logins_of_a_browser_are_kept_each_with_its_page(login: Oidc) -> None:
    client, session = Client(CLAIMS), dict[str, Any]()
    with_client(login, client)
    begun = []
    for page in ("/a", "/b", "/c"):
        answer = visit(login, session, f"/login?next={page}")
        assert (answer.status_code, answer.headers["cache-control"]) == (302, "no-store")
        begun += [state for state in pending(session) if state not in begun]
    assert sorted(pending(session)) == sorted(begun[-MAX_PENDING_LOGINS:])
    assert session["next"] == dict(zip(begun[1:], ("/b", "/c"), strict=True))
    assert client.redirects == ["http://hub.example/login/callback"] * 3
    for state, page in (*session["next"].items(),):
        answer = visit(login, session, f"/login/callback?state={state}")
        assert (answer.status_code, answer.headers["location"], answer.headers["cache-control"]) == (
            303,
            page,
            "no-store",
        )
        assert (session["user"], session["groups"]) == ("ada@x", [])
        assert time.time() - 60 < session["since"] <= time.time()


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "/a b", "x"])
def test_the_way_back_is_a_path_of_the_hub(login: Oidc, target: str) -> None:
    session = dict[str, Any]()
    with_client(login, Client(CLAIMS))
    visit(login, session, f"/login?next={quote(target, safe='')}")
    assert [*session["next"].values()] == ["/"]


def test_the_address_of_the_hub_may_be_given(tmp_path: Path) -> None:
    (tmp_path / "oidc").write_text("secret")
    options = OidcOptions("https://issuer.example", "me", tmp_path / "oidc", external_url="https://hub.example/x")
    login, client = Oidc(options, ROLES, AuditLog()), Client(CLAIMS)
    with_client(login, client)
    session = dict[str, Any]()
    visit(login, session, "/login")
    assert client.redirects == ["https://hub.example/x/login/callback"]
    visit(login, session, f"/login/callback?state={pending(session)[0]}")
    assert client.expected == {
        "iss": {"values": ["https://issuer.example/"]},
        "aud": {"essential": True, "values": ["me"]},
    }
    assert client.client_secret == "secret"  # noqa: S105


@pytest.mark.parametrize(
    ("claims", "more", "status"),
    [
        (CLAIMS, None, 303),
        ({"sub": "1"}, CLAIMS, 303),
        ({"sub": "2"}, CLAIMS, 403),
        ({"sub": "1", "email": "ada@x", "groups": []}, {"sub": "1", "email_verified": False}, 403),
        ({"sub": "1"}, None, 403),
    ],
    ids=["ID token", "userinfo", "another user", "not verified", "no name"],
)
def test_claims_are_those_of_the_token_and_of_the_userinfo_endpoint(
    login: Oidc, claims: Mapping[str, object], more: Mapping[str, object] | None, status: int
) -> None:
    """A callback without the browser's state is refused as well."""
    session = dict[str, Any]()
    audit = with_client(login, Client(claims, more))
    visit(login, session, "/login")
    [state] = pending(session)
    assert visit(login, {}, f"/login/callback?state={state}").status_code == 403
    answer = visit(login, session, f"/login/callback?state={state}")
    assert (answer.status_code, session.get("user")) == (status, "ada@x" if status == 303 else None)
    failed = ("sign_in_failed", "", "oidc", "", "10.0.0.9", "GET /login/callback", 403)
    signed_in = ("sign_in", "ada@x", "oidc", "viewer", "10.0.0.9", "GET /login/callback", 200)
    assert events(audit) == ([failed, signed_in] if status == 303 else [failed])


def test_a_user_without_a_role_gets_no_session_and_one_with_several_groups_those_that_count(login: Oidc) -> None:
    for roles, groups, status in (
        (Roles((("group:out", Role.NONE),)), None, 403),
        (Roles((("group:out", Role.ADMIN), ("group:third", Role.ADMIN))), ["out"], 303),
    ):
        session = dict[str, Any]()
        audit = with_client(login, Client(CLAIMS), roles)
        visit(login, session, "/login")
        answer = visit(login, session, f"/login/callback?state={pending(session)[0]}")
        assert (answer.status_code, session.get("groups")) == (status, groups)
        assert len(events(audit)) == 1
        if status == 403:
            assert events(audit) == [("denied", "ada@x", "oidc", "none", "10.0.0.9", "GET /login/callback", 403)]
            assert "ada@x has no role on this hub. Ask its administrator for one (--roles)." in answer.text


def test_signing_out_ends_the_session(login: Oidc) -> None:
    audit = with_client(login, Client(CLAIMS))
    session = {"user": "ada@x", "groups": [], "since": time.time()}
    for _ in range(2):
        answer = visit(login, session, "/logout")
        assert (answer.status_code, answer.headers["cache-control"], session) == (200, "no-store", {})
    assert events(audit) == [("sign_out", "ada@x", "oidc", "viewer", "10.0.0.9", "GET /logout", 200)]


@pytest.mark.parametrize(
    ("issuer", "status"),
    [("https://issuer.example", 302), ("https://issuer.example/", 302), ("https://evil.example", 503), (None, 503)],
)
def test_the_provider_is_the_one_of_the_option(
    login: Oidc, caplog: pytest.LogCaptureFixture, issuer: str | None, status: int
) -> None:
    """The page does not show why; the log does, once a minute."""
    client = Client(CLAIMS)
    client.server_metadata["issuer"] = issuer
    with_client(login, client)
    for _ in range(2):
        answer = visit(login, {}, "/login")
        assert answer.status_code == status
    assert [record.levelname for record in caplog.records].count("WARNING") == int(status == 503)
    if status == 503:
        assert f"the provider calls itself {issuer!r}" in caplog.text
        assert str(issuer) not in answer.text


def test_a_failure_of_the_connection_to_the_provider_is_none_of_the_user(login: Oidc) -> None:
    class Down(Client):
        async def load_server_metadata(self) -> Mapping[str, object]:
            raise httpx.ConnectError("refused")

    with_client(login, Down(CLAIMS))
    assert [visit(login, {}, path).status_code for path in ("/login", "/login/callback?state=x")] == [503, 503]


def test_the_pages_of_the_login_are_no_api(login: Oidc) -> None:
    app = FastAPI()
    login.register(app)
    assert app.openapi()["paths"] == {}


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot be read"), (b"\xff", "is not UTF-8 text"), (b" \n", "is empty. Write")]
)
def test_a_client_secret_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FileError, match=message) as refused:
        Oidc(OidcOptions("https://issuer.example", "foreshock", path), ROLES, AuditLog())
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"\xff", "is not UTF-8 text"),
        (b"#" * (MAX_USERS_FILE_BYTES + 1), f"is larger than {MAX_USERS_FILE_BYTES} bytes"),
        (b"#" * MAX_USERS_FILE_BYTES, "has no users"),
        (b"ada:$2b$17$" + b"a" * 53, "line 1 has bcrypt cost 17 (maximum 16, default 10)"),
    ],
)
def test_a_file_of_users_has_bounds(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "users"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FileError) as refused:
        Users(path)
    assert message in str(refused.value)


def test_a_user_may_have_the_largest_cost(tmp_path: Path) -> None:
    (tmp_path / "users").write_bytes(b"\n # none\n#none\n ada:$2b$16$" + b"a" * 53 + b" \n")
    users = Users(tmp_path / "users")
    assert ("ada" in users, "none" in users) == (True, False)
    for given in ("", "Bearer x", "Basic !"):
        assert not users.known(given)
        assert users.check(given, "10.0.0.1") == "wrong"


Repeated = Literal["sign_in", "sign_in_failed", "denied", "rate_limited"]


@pytest.mark.parametrize(
    ("action", "seconds"), [("sign_in", 3600), ("sign_in_failed", 60), ("denied", 60), ("rate_limited", 60)]
)
def test_an_event_is_repeated_after_its_time(monkeypatch: pytest.MonkeyPatch, action: Repeated, seconds: float) -> None:
    """Those of another address, method, or role repeat nothing; changes never do."""
    clock = [1000.0]
    timed: partial[TTLCache[object, object]] = partial(TTLCache, timer=lambda: clock[0])
    monkeypatch.setattr("foreshock_dashboard.access.audit.TTLCache", timed)
    audit = AuditLog()
    for clock[0] in (1000.0, 1000.0 + seconds - 1, 1000.0 + seconds + 1):
        audit.record(action, principal="ada", method="token", role="viewer", address="10.0.0.1")
    assert len(audit.recent()) == 2
    audit.record(action, principal="ada", method="token", role="viewer", address="10.0.0.2")
    audit.record(action, principal="ada", method="oidc", role="viewer", address="10.0.0.1")
    audit.record(action, principal="ada", method="token", role="admin", address="10.0.0.1")
    audit.record(action, principal="bob", method="token", role="viewer", address="10.0.0.1")
    assert len(audit.recent()) == 6
    for _ in range(2):
        audit.record("change", principal="ada")
    assert len(audit.recent()) == 8


def test_the_newest_events_are_kept() -> None:
    audit = AuditLog()
    for number in range(audit_module.MAX_RECENT + 1):
        audit.record("change", principal=f"{number}")
    names = [event["principal"] for event in audit.recent()]
    assert names == [f"{number}" for number in range(audit_module.MAX_RECENT, 0, -1)]


def test_events_may_go_to_standard_output(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        AuditLog(Path("-")).record("change", principal="ada")
        assert not [*tmp_path.iterdir()]
    printed = capsys.readouterr().out
    assert '"principal": "ada"' in printed
    assert '"status": 200' in printed
