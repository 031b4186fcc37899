"""What browser tests are made of: a server that the test controls, and a visit to it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import uvicorn
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it ships no types
from playwright.sync_api import Page, expect
from tests.web.worlds import FakeHub

from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.http.authentication import Access

Scheme = Literal["light", "dark"]
WIDTHS = (1280, 390)
CONTRAST = ("color-contrast",)
AXE = Axe()
expect.set_options(timeout=20_000)  # milliseconds: a loaded machine takes seconds to draw


def ready(page: Page) -> None:
    """Wait until the page is live and every panel has its data."""
    expect(page.locator("#live")).to_contain_text("Live")
    expect(page.locator('.panel[data-state="loading"]:visible')).to_have_count(0)


def at_each_width(page: Page) -> Iterator[None]:
    """Make the window of a page that is ready as wide as a desktop's, then as a phone's: to load it costs more."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        yield


def violations(page: Page, *rules: str, without: Sequence[str] = ()) -> list[str]:
    """The rules of axe that the page breaks, each with the element; of all rules, unless some are named."""
    options: dict[str, object] = {
        "resultTypes": ["violations"],
        "preload": False,  # of styles and media, for rules on video and on a locked orientation
        "rules": {rule: {"enabled": False} for rule in without},
        **({"runOnly": rules} if rules else {}),
    }
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.axe_script)  # half a megabyte
    found = page.evaluate("(options) => axe.run(options).then((results) => results.violations)", options)
    return [f"{fault['id']}: {node['target']}" for fault in found for node in fault["nodes"]]


def assert_accessible_and_fits(page: Page) -> None:
    """No violation that axe finds in dark, none of contrast in light, one h1, and no wider than the window.

    Between the schemes only contrast differs. A phone has the same colors, so its pages are looked at in dark, and
    without contrast, which takes axe longer than all else.
    """
    assert page.get_by_role("heading", level=1).count() == 1
    window_width = page.evaluate("window.innerWidth")
    expect(page.locator("html")).to_have_js_property("scrollWidth", window_width)  # once charts are laid out
    schemes: tuple[tuple[Scheme, Scheme], ...] = (("dark", "light"), ("light", "dark"))
    is_phone = window_width != max(WIDTHS)
    for scheme, other in schemes[:1] if is_phone else schemes:
        page.emulate_media(color_scheme=scheme)
        expect(page.locator(f'#theme-toggle[aria-label="Switch to the {other} theme"]')).to_be_attached()
        without = CONTRAST if is_phone else ()
        assert violations(page, *(CONTRAST if scheme == "light" else ()), without=without) == []


@dataclass
class Site:
    """A server; `hub.snapshot` is what it shows, `access` whom."""

    hub: FakeHub
    port: int = 0
    access: Access | None = None
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen; again on the same port after `stop`."""
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        app = create_app(self.hub, version="0", access=self.access)
        config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop and wait until it has."""
        if self._server and self._thread:
            self._server.should_exit = True
            self._thread.join(15)


@dataclass
class Visit:
    """An open page and what it complained about; `requests` are those that left the server's address."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)


class Open(Protocol):
    """Opens an address of the site.

    With `quiet` the test fails at its end if a script failed or complained, or if anything but the site was asked.
    """

    def __call__(self, path: str = "/", scheme: Scheme = "light", width: int = 1280, quiet: bool = True) -> Visit:
        """Give the open page."""
        ...
