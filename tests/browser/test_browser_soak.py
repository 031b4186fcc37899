"""Ten minutes of an on-call engineer in front of the live demo leave server and page as the first two did."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect

MINUTES = 10
WARM = 2.0
"""Minutes after which the round of all pages ends that the last round is compared with."""
TOGETHER = 3
"""Rounds that are longer than two minutes together."""
MOST = 1.1
"""Times as much as then there may be."""
PAGES = ("contention", "cascade", "fleet", "traces", "services", "status")
STAY = 5_000
"""Milliseconds on each page: two refreshes of it, or nearly."""
MIB = 2**20
ON_PAGE = """(() => {
  const all = document.createTreeWalker(document);
  let count = 1;
  while (all.nextNode()) count += 1;
  return count;
})()"""


@dataclass
class Rounds:
    """What was measured, a figure a round of all pages.

    minute: when the round ended, since the first began. server, heap: MiB of the server and of the page's scripts.
    gone: nodes held though they are no longer on the page (those on it come and go with what happens).
    """

    minute: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)
    heap: list[float] = field(default_factory=list)
    gone: list[float] = field(default_factory=list)
    listeners: list[float] = field(default_factory=list)

    def report(self) -> str:
        """As a line a figure."""
        return "\n".join(f"{name}: {[round(value, 1) for value in values]}" for name, values in vars(self).items())


@pytest.fixture
def demo() -> Iterator[subprocess.Popen[str]]:
    """The demo at the speed of the wall, its address in its first lines."""
    command = [sys.executable, "-m", "foreshock_dashboard", "demo", "--no-browser", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        yield process
        process.terminate()
        process.wait(30)


def address_of(process: subprocess.Popen[str]) -> str:
    """Where its pages are."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if found := [word.rstrip(".,") for word in line.split() if word.startswith("http://")]:
            parts = urlsplit(found[0])
            return f"{parts.scheme}://{parts.netloc}"
    raise AssertionError("".join(said))


def resident(process: subprocess.Popen[str]) -> float:
    """MiB of memory that a process has."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def measure(session: CDPSession) -> dict[str, float]:
    """What the page holds once nothing is left to be collected."""
    session.send("HeapProfiler.collectGarbage")
    session.send("HeapProfiler.collectGarbage")
    return {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}


OPENED = {"contention": "#waits td.wait a", "traces": "#list tbody a", "services": "tbody a"}
"""What is opened on a page: a pair, a trace, a service."""


def walk(page: Page, name: str) -> None:
    """From Now to a page and back, by what is on the pages; what can be opened there is."""
    page.locator(f"#nav-{name}").click()
    expect(page.locator(f'[data-page="{name}"]')).to_be_visible(timeout=20_000)
    page.wait_for_timeout(STAY)
    opened = page.locator(OPENED.get(name, "#none"))
    if opened.count():
        opened.first.click()
        page.wait_for_timeout(STAY)
    page.locator("#nav-now").click()
    expect(page.locator("#headline")).not_to_be_empty(timeout=20_000)
    page.wait_for_timeout(1_000)


@pytest.mark.soak
def test_memory_is_flat_while_a_visitor_looks_around(browser: Browser, demo: subprocess.Popen[str]) -> None:
    """After each round of all pages, on Now, garbage is collected and counted is what is left.

    The server holds what came in up to two minutes until that is sealed, and a segment being written shows for some
    seconds: so its figure is the median of a round, and three rounds are compared with three.
    """
    url, found, complaints = address_of(demo), Rounds(), list[str]()
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    expect(page.locator("#headline")).not_to_be_empty(timeout=30_000)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    begun = time.monotonic()
    while time.monotonic() - begun < 60 * MINUTES:
        server: list[float] = []
        for name in PAGES:
            walk(page, name)
            server.append(resident(demo))
        page.wait_for_timeout(STAY)  # what Now drew last is held beside what it draws next: not so right after it came
        held = measure(session)
        found.minute.append((time.monotonic() - begun) / 60)
        found.server.append(median(server))
        found.heap.append(held["JSHeapUsedSize"] / MIB)
        found.gone.append(held["Nodes"] - page.evaluate(ON_PAGE))
        found.listeners.append(held["JSEventListeners"])
        print(found.report().replace("\n", "; "), flush=True)
    page.close()
    assert complaints == []
    warm = next(at for at, minute in enumerate(found.minute) if minute >= WARM)
    last = len(found.minute) - TOGETHER
    for name, values in vars(found).items():
        of = median if name == "server" else min  # what is dropped is held until it is collected, a leak for ever
        then, now = (of(values[at : at + TOGETHER]) for at in (warm, last))
        assert name == "minute" or now < MOST * then, f"{name} grew\n{found.report()}"
