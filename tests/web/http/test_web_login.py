"""The login with OpenID Connect by itself: claims, sessions, the way back, and failures of the provider."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import httpx2
import pytest
from fastapi import FastAPI, Request
from starlette.responses import RedirectResponse
from starlette.types import Receive, Scope, Send
from tests.web.roles import ROLES, events

from foreshock_dashboard.access.audit import AuditLog
from foreshock_dashboard.access.roles import Role, Roles
from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.web.http import oidc as oidc_module
from foreshock_dashboard.web.http.oidc import (
    MAX_NEXT_BYTES,
    MAX_PENDING_LOGINS,
    Oidc,
    OidcOptions,
)


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
        assert f"the provider's issuer is {issuer!r}" in caplog.text
        assert str(issuer) not in answer.text


def test_a_failure_of_the_connection_to_the_provider_is_none_of_the_user(login: Oidc) -> None:
    class Down(Client):
        async def load_server_metadata(self) -> Mapping[str, object]:
            raise httpx2.ConnectError("refused")

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
