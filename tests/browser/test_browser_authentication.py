"""A page that asks who looks: a browser asks back, and then shows all of it."""

from __future__ import annotations

from pathlib import Path

import bcrypt
from playwright.sync_api import Browser, expect
from tests.browser.site import Site
from tests.ports import free_port
from tests.web.oidc import SECRET, provider
from tests.web.worlds import SCENES, FakeHub

from foreshock_dashboard.access.audit import AuditLog
from foreshock_dashboard.access.roles import Role, Roles
from foreshock_dashboard.access.tokens import Tokens, token_line
from foreshock_dashboard.access.users import Users
from foreshock_dashboard.web.http.authentication import Access
from foreshock_dashboard.web.http.oidc import Oidc, OidcOptions


def test_a_browser_that_knows_the_password_shows_page_scripts_and_figures(browser: Browser, tmp_path: Path) -> None:
    """Beside tokens, which browsers do not speak; one that does not know it gets nothing. Admins see who was there."""
    (tmp_path / "users").write_text(
        "".join(f"{user}:{bcrypt.hashpw(b'lovelace', bcrypt.gensalt(4)).decode()}\n" for user in ("ada", "root"))
    )
    (tmp_path / "tokens").write_text(token_line("ci", "0123456789abcdef"))
    roles = Roles((("root", Role.ADMIN),))
    access = Access(Tokens(tmp_path / "tokens"), Users(tmp_path / "users"), roles=roles)
    site = Site(FakeHub(SCENES["contended"]()), access=access)
    site.start()
    try:
        known = browser.new_context(http_credentials={"username": "ada", "password": "lovelace"})
        page = known.new_page()
        page.goto(f"{site.url}/services/embedder")
        expect(page.locator("#service-links")).to_contain_text("Suspected cause: train-llm", timeout=15_000)
        expect(page.locator("#service-durations .main-svg").first).to_be_visible(timeout=15_000)
        page.get_by_role("button", name="ada").click()
        expect(page.locator("#user .menu-body")).to_have_text("adaRole: viewer")
        page.goto(f"{site.url}/status")
        expect(page.locator("#connect")).to_contain_text("Prometheus alerts", timeout=15_000)
        expect(page.locator("#audit-panel")).to_be_hidden()
        known.close()
        admin = browser.new_context(http_credentials={"username": "root", "password": "lovelace"})
        page = admin.new_page()
        page.goto(f"{site.url}/status")
        expect(page.locator("#audit-table tbody tr").first).to_contain_text("rootSign-in", timeout=15_000)
        expect(page.locator("#audit-table tbody tr").last).to_contain_text("adaSign-in")
        admin.close()
        stranger = browser.new_context()
        assert stranger.request.get(f"{site.url}/services/embedder").status == 401
        stranger.close()
    finally:
        site.stop()


def test_a_person_signs_in_at_an_openid_provider_and_sees_the_page(browser: Browser, tmp_path: Path) -> None:
    """The requested page is shown after the login, live; a session that ends leads to the login again."""
    (tmp_path / "secret").write_text(SECRET)
    site = Site(FakeHub(SCENES["contended"]()), free_port())
    with provider(site.port) as real:
        audit = AuditLog()
        oidc = Oidc(OidcOptions(real.issuer, "foreshock", tmp_path / "secret"), Roles(), audit)
        site.access = Access(oidc=oidc, audit=audit)
        site.start()
        context = browser.new_context()
        page = context.new_page()
        try:
            page.goto(f"{site.url}/services/embedder")
            for session_ends in (True, False):
                page.get_by_placeholder("Enter any login").fill("ada@example.com")
                page.get_by_placeholder("and password").fill("x")
                page.get_by_role("button", name="Sign-in").click()
                page.get_by_role("button", name="Continue").click()
                expect(page.locator("#service-links")).to_contain_text("Suspected cause: train-llm", timeout=15_000)
                assert page.url == f"{site.url}/services/embedder"
                assert page.evaluate("document.cookie") == ""
                expect(page.locator("#user-open")).to_have_text("ada@example.com")
                if session_ends:
                    context.clear_cookies()
            page.locator("#user-open").click()
            page.get_by_role("link", name="Sign out").click()
            expect(page.get_by_role("heading", name="Signed out")).to_be_visible()
            assert context.request.get(f"{site.url}/api/now").status == 401
            assert [event["action"] for event in audit.recent()] == ["sign_out", "sign_in"]
        finally:
            context.close()
            site.stop()
