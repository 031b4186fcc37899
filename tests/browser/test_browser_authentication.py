"""A page that asks who looks: a browser asks back, and then shows all of it."""

from __future__ import annotations

from pathlib import Path

import bcrypt
from playwright.sync_api import Browser, expect
from tests.browser.site import Site
from tests.web.worlds import SCENES, FakeHub

from foreshock_dashboard.access.tokens import Tokens, token_line
from foreshock_dashboard.web.http.authentication import Access, Users


def test_a_browser_that_knows_the_password_shows_page_scripts_and_figures(browser: Browser, tmp_path: Path) -> None:
    """Beside tokens, which browsers do not speak; one that does not know it gets nothing."""
    (tmp_path / "users").write_text(f"ada:{bcrypt.hashpw(b'lovelace', bcrypt.gensalt(4)).decode()}\n")
    (tmp_path / "tokens").write_text(token_line("ci", "0123456789abcdef"))
    access = Access(Tokens(tmp_path / "tokens"), Users(tmp_path / "users"))
    site = Site(FakeHub(SCENES["starving"]()), access=access)
    site.start()
    try:
        known = browser.new_context(http_credentials={"username": "ada", "password": "lovelace"})
        page = known.new_page()
        page.goto(f"{site.url}/services/embedder")
        expect(page.locator("#service-links")).to_contain_text("Suspected cause: train-llm", timeout=15_000)
        expect(page.locator("#service-durations .main-svg").first).to_be_visible(timeout=15_000)
        known.close()
        stranger = browser.new_context()
        assert stranger.request.get(f"{site.url}/services/embedder").status == 401
        stranger.close()
    finally:
        site.stop()
