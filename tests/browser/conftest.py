"""A browser, and a real server on a port of the system's choice in front of a hub that the test controls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Request, sync_playwright
from tests.browser.site import Open, Scheme, Site, Visit
from tests.web.worlds import SCENES, FakeHub

CHROMIUM = "/usr/bin/chromium-headless-shell"
"""Without the windows of the whole browser a visit takes a quarter less."""
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for a file: while it runs so does an event loop in this thread, which other tests must not meet."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def site() -> Iterator[Site]:
    """A server that shows GPU contention between train-llm and embedder."""
    site = Site(FakeHub(SCENES["contended"]()))
    site.start()
    yield site
    site.stop()


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Open]:
    """Open an address of the site; fails at the end if a script failed, anything but the site was asked, or the
    page did not know a parameter of the page's address."""
    contexts = []
    visits: list[Visit] = []

    def open_(path: str = "/", scheme: Scheme = "light", width: int = 1280, quiet: bool = True) -> Visit:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            reduced_motion="reduce",
            timezone_id="Asia/Tokyo",
            locale="en-GB",
        )
        contexts.append(context)
        opened = Visit(context.new_page())
        if quiet:
            visits.append(opened)
        opened.page.on("pageerror", lambda error: opened.complaints.append(f"error: {error}"))
        opened.page.on(
            "console",
            lambda said: (
                opened.complaints.append(f"{said.type}: {said.text}") if said.type in ("error", "warning") else None
            ),
        )
        opened.page.on("request", lambda request: _note(request, site, opened))
        opened.page.goto(f"{site.url}{path}")
        return opened

    yield open_
    still_open = [opened.page for opened in visits if not opened.page.is_closed()]
    ignored = [text for page in still_open for text in page.locator("#ignored:visible").all_inner_texts()]
    for context in contexts:
        context.close()
    for opened in visits:
        assert opened.complaints == []
        assert opened.strangers == []
    assert ignored == []


def _note(request: Request, site: Site, opened: Visit) -> None:
    if not request.url.startswith((f"{site.url}/", "data:", "blob:")):
        opened.strangers.append(request.url)
