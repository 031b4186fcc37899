"""Login at an OpenID provider, against a real one, and against what an attacker would send."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from itsdangerous import TimestampSigner
from tests.browser.site import Site
from tests.ports import free_port
from tests.web.oidc import SECRET, Provider, provider
from tests.web.worlds import SCENES, FakeHub

from foreshock_dashboard.access.audit import AuditLog
from foreshock_dashboard.access.rate_limit import MIN_BURST_REQUESTS
from foreshock_dashboard.access.roles import Role, Roles
from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.http.authentication import Access
from foreshock_dashboard.web.http.oidc import MAX_NEXT_BYTES, Oidc, OidcOptions

pytestmark = pytest.mark.slow
ROLES = Roles((("group:sre", Role.ADMIN), ("mallory@example.com", Role.NONE)))
PAGE = {"accept": "text/html"}


@pytest.fixture(scope="module")
def real() -> Iterator[Provider]:
    """A provider for the tests of this file."""
    with provider(free_port()) as started:
        yield started


@pytest.fixture
def options(real: Provider, tmp_path: Path) -> OidcOptions:
    """The options of a hub at that provider."""
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    return OidcOptions(real.issuer, "foreshock", tmp_path / "secret")


@contextmanager
def hub(options: OidcOptions, port: int) -> Iterator[AuditLog]:
    """A hub with the login; its audit log."""
    audit = AuditLog()
    access = Access(oidc=Oidc(options, ROLES, audit), roles=ROLES, audit=audit)
    site = Site(FakeHub(SCENES["healthy"]()), port, access)
    site.start()
    try:
        yield audit
    finally:
        site.stop()


@contextmanager
def browser(real: Provider) -> Iterator[httpx.Client]:
    """A client that keeps cookies and follows redirects."""
    url = f"http://127.0.0.1:{real.hub_port}"
    with httpx.Client(base_url=url, follow_redirects=True, headers=PAGE, trust_env=False, timeout=30) as client:
        yield client


def submit(client: httpx.Client, page: httpx.Response, **fields: str) -> httpx.Response:
    """Submit the form of a page of the provider."""
    (action,) = re.findall(r'action="([^"]+)"', page.text)[:1]
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="(\w+)"', page.text))
    return client.post(page.url.join(action), data={**hidden, **fields})


def sign_in(client: httpx.Client, user: str, path: str = "/") -> httpx.Response:
    """Open a page, sign in at the provider, and consent; the page that is shown then."""
    consent = submit(client, client.get(path), login=user, password="x")  # noqa: S106
    return submit(client, consent)


def test_a_user_signs_in_at_the_provider_and_comes_back_to_the_page(options: OidcOptions, real: Provider) -> None:
    """With the role of a group; the session is a cookie that no script can read; signing out ends it."""
    with hub(options, real.hub_port) as audit, browser(real) as client:
        shown = sign_in(client, "ada+sre", "/services/embedder?at=now-5m")
        assert shown.status_code == 200
        assert (shown.url.path, shown.url.query) == ("/services/embedder", b"at=now-5m")
        assert client.get("/api/audit").status_code == 200
        (cookie,) = (each for each in client.cookies.jar if each.name == "foreshock")
        assert cookie.has_nonstandard_attr("httponly")
        assert cookie.get_nonstandard_attr("samesite") == "lax"
        assert client.get("/logout").status_code == 200
        assert client.get("/api/now", headers={"accept": "*/*"}).status_code == 401
    events = [(event["action"], event["principal"], event["method"], event["role"]) for event in audit.recent()]
    assert events == [
        ("sign_out", "ada+sre", "oidc", "admin"),
        ("download", "ada+sre", "oidc", "admin"),
        ("sign_in", "ada+sre", "oidc", "admin"),
    ]


def test_a_user_without_a_group_has_the_default_role_and_one_with_none_stays_out(
    options: OidcOptions, real: Provider
) -> None:
    """403 says why; there is no session."""
    with hub(options, real.hub_port):
        with browser(real) as client:
            assert sign_in(client, "bob@example.com").status_code == 200
            assert client.get("/api/audit").status_code == 403
        with browser(real) as client:
            refused = sign_in(client, "mallory@example.com")
            assert (refused.status_code, "has no role on this hub" in refused.text) == (403, True)
            assert client.get("/api/now", headers={"accept": "*/*"}).status_code == 401


@pytest.mark.parametrize("user", ["unverified@example.com", "unverified-text@example.com"])
def test_an_unverified_address_is_no_name(options: OidcOptions, real: Provider, user: str) -> None:
    """Any client may claim one; some providers send false as a text."""
    with hub(options, real.hub_port) as audit, browser(real) as client:
        assert sign_in(client, user).status_code == 403
        assert audit.recent()[0]["action"] == "sign_in_failed"


def test_groups_that_are_no_texts_are_ignored(options: OidcOptions, real: Provider) -> None:
    """Some providers send objects; those that are texts count."""
    with hub(options, real.hub_port), browser(real) as client:
        assert sign_in(client, "objects+sre").status_code == 200
        assert client.get("/api/audit").status_code == 200


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_logins_in_two_tabs_lead_each_to_its_page(options: OidcOptions, real: Provider, order: tuple[int, int]) -> None:
    """Whichever is finished first; the other finds its user signed in."""
    with hub(options, real.hub_port), browser(real) as client:
        paths = ("/traces", "/services")
        tabs = [client.get(path) for path in paths]
        for tab in order:
            shown = submit(client, tabs[tab], login="bob", password="x")  # noqa: S106
            if "/interaction/" in shown.url.path:
                shown = submit(client, shown)
            assert (shown.status_code, shown.url.port, shown.url.path) == (200, real.hub_port, paths[tab])


def test_failing_logins_cannot_flood_the_log(
    options: OidcOptions, real: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    """Anyone may send an error to the callback: one line a minute, of bounded length."""
    with hub(options, real.hub_port), browser(real) as client:
        for number in range(20):
            query = {"error": "x", "error_description": f"{number}" + "y" * 5000}
            assert client.get("/login/callback", params=query).status_code == 403
    (message,) = (record.message for record in caplog.records if "login at" in record.message)
    assert len(message) < 400


def test_the_open_pages_of_the_login_have_a_rate_limit(options: OidcOptions) -> None:
    """For each client."""
    oidc = Oidc(options, ROLES, AuditLog())
    app = create_app(FakeHub(SCENES["healthy"]()), version="0", access=Access(oidc=oidc, requests_per_minute=1))

    async def statuses(peer: str, requests: int) -> list[int]:
        transport = httpx.ASGITransport(app, client=(peer, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return [(await client.get("/logout")).status_code for _ in range(requests)]

    found = asyncio.run(statuses("10.0.0.1", MIN_BURST_REQUESTS + 1))
    assert found == [200] * MIN_BURST_REQUESTS + [429]
    assert asyncio.run(statuses("10.0.0.2", 1)) == [200]


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/a b", "/"),
        ("/traces?q=" + "x" * MAX_NEXT_BYTES, "/"),
        ("/traces?q=" + "é" * 200, "/"),
        ("/traces", "/traces"),
    ],
)
def test_the_way_back_leads_to_the_hub_alone(options: OidcOptions, real: Provider, target: str, path: str) -> None:
    """A link to the login cannot send a user elsewhere (CWE-601)."""
    with hub(options, real.hub_port), browser(real) as client:
        consent = submit(client, client.get("/login", params={"next": target}), login="bob", password="x")  # noqa: S106
        shown = submit(client, consent)
        assert (shown.url.host, shown.url.port, shown.url.path) == ("127.0.0.1", real.hub_port, path)


@pytest.mark.parametrize("query", ["code=stolen&state=guessed", "code=stolen", "error=access_denied", ""])
def test_an_answer_that_the_browser_did_not_ask_for_is_refused(
    options: OidcOptions, real: Provider, query: str
) -> None:
    """The state of another browser, none, or an error of the provider."""
    with hub(options, real.hub_port), browser(real) as client:
        assert client.get(f"/login/callback?{query}").status_code == 403
        assert client.get("/api/now", headers={"accept": "*/*"}).status_code == 401


def test_a_code_is_bound_to_the_browser_and_the_login_that_requested_it(options: OidcOptions, real: Provider) -> None:
    """The login has state, nonce, and a PKCE challenge; the answer of one browser is of no use to another."""
    with hub(options, real.hub_port), browser(real) as victim, browser(real) as attacker:
        victim.follow_redirects = False
        asked = parse_qs(urlsplit(victim.get("/login").headers["location"]).query)
        assert asked.keys() >= {"state", "nonce", "code_challenge"}
        assert (asked["code_challenge_method"], asked["response_type"]) == (["S256"], ["code"])
        attacker.follow_redirects = False
        page = attacker.get(attacker.get("/login").headers["location"])
        while "/login/callback" not in page.headers.get("location", ""):
            page = (
                attacker.get(page.url.join(page.headers["location"]))
                if page.is_redirect
                else submit(attacker, page, login="eve", password="x")  # noqa: S106
            )
        assert victim.get(page.headers["location"]).status_code == 403


@pytest.mark.parametrize("cookie", ["e30=.x.y", "null", "a" * 4000, "eyJ1c2VyIjogImFkYSJ9.aaaa.bbbb"])
def test_a_cookie_that_the_hub_did_not_sign_opens_nothing(options: OidcOptions, real: Provider, cookie: str) -> None:
    """Forged, cut, or of another key."""
    with hub(options, real.hub_port), browser(real) as client:
        headers = {"cookie": f"foreshock={cookie}", "accept": "*/*"}
        assert client.get("/api/now", headers=headers).status_code == 401


def test_a_new_client_secret_is_used_without_a_restart_and_ends_all_sessions(
    options: OidcOptions, real: Provider
) -> None:
    """A wrong one fails the login, the right one works again; the sessions before are over."""
    with hub(options, real.hub_port), browser(real) as client:
        assert sign_in(client, "bob@example.com").status_code == 200
        options.secret_file.write_text("another secret")
        assert client.get("/api/now", headers={"accept": "*/*"}).status_code == 401
        assert client.get("/").status_code == 403
        options.secret_file.write_text(SECRET)
        assert client.get("/").status_code == 200


def test_a_provider_that_is_down_or_another_is_said(options: OidcOptions, real: Provider) -> None:
    """503 in words; the API still answers 401."""
    for issuer in (f"http://127.0.0.1:{free_port()}", real.issuer.replace("127.0.0.1", "localhost")):
        with hub(replace(options, issuer=issuer), real.hub_port), browser(real) as client:
            assert (client.get("/").status_code, "The login failed" in client.get("/").text) == (503, True)
            assert client.get("/api/now", headers={"accept": "*/*"}).status_code == 401


@pytest.mark.parametrize(("secret", "ca"), [("", None), (None, None), ("s", "not PEM")])
def test_files_that_cannot_be_used_are_named(options: OidcOptions, secret: str | None, ca: str | None) -> None:
    """At the start."""
    options.secret_file.unlink()
    if secret is not None:
        options.secret_file.write_text(secret)
    if ca is not None:
        options = replace(options, ca=options.secret_file.with_name("ca.pem"))
        options.secret_file.with_name("ca.pem").write_text(ca)
    with pytest.raises(FileError, match=r"ca\.pem" if ca else "secret"):
        Oidc(options, ROLES, AuditLog())


def test_a_cookie_of_an_earlier_version_still_signs_in(options: OidcOptions, real: Provider) -> None:
    """It had one page to return to, as a text."""
    session = {"next": "/traces", "user": "bob", "groups": [], "since": time.time()}
    key = Oidc(options, ROLES, AuditLog()).session_key()
    cookie = TimestampSigner(key).sign(base64.b64encode(json.dumps(session).encode())).decode()
    with hub(options, real.hub_port), browser(real) as client:
        client.cookies.set("foreshock", cookie)
        assert client.get("/login/callback", params={"state": "x"}).status_code == 200
        assert sign_in(client, "bob", "/login?next=/services").url.path == "/services"
