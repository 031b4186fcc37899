"""Ten minutes of somebody on call in front of the live demo leave server and page as the first two did."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect

MINUTES = 10
WARM = 1
"""The minute, counted from 0, that the last one is compared with."""
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
class Minutes:
    """What was measured, a figure a minute: MiB of the server and of the page's scripts, nodes held though they are
    on the page no more (those on it come and go with what happens), and listeners."""

    server: list[float] = field(default_factory=list)
    heap: list[float] = field(default_factory=list)
    gone: list[float] = field(default_factory=list)
    listeners: list[float] = field(default_factory=list)

    def told(self) -> str:
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


def walk(page: Page, pages: Sequence[str]) -> None:
    """From Now to each page and back, by what is on the pages; on the way a pair, a GPU and a trace are opened."""
    for name in pages:
        page.locator(f"#nav-{name}").click()
        expect(page.locator(f'[data-page="{name}"]')).to_be_visible(timeout=20_000)
        page.wait_for_timeout(STAY)
        opened = page.locator(
            {"contention": "#who a.cell", "traces": "#list tbody a", "services": "tbody a"}.get(name, "#none")
        )
        if opened.count():
            opened.first.click()
            page.wait_for_timeout(STAY)
    page.locator("#nav-now").click()
    expect(page.locator("#headline")).not_to_be_empty(timeout=20_000)
    page.wait_for_timeout(STAY)


@pytest.mark.soak
def test_memory_is_flat_while_somebody_on_call_looks_around(browser: Browser, demo: subprocess.Popen[str]) -> None:
    """Every minute all pages are visited and Now is looked at last; then garbage is collected, and it is counted.

    A segment being written shows in the server for some seconds, so its minute is the median of what was seen.
    """
    url, found, complaints = address_of(demo), Minutes(), list[str]()
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    expect(page.locator("#headline")).not_to_be_empty(timeout=30_000)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    begun = time.monotonic()
    for minute in range(1, MINUTES + 1):
        server: list[float] = []
        while not server or time.monotonic() - begun < 60 * minute:
            at = len(server) % len(PAGES)
            walk(page, PAGES[at : at + 1])
            server.append(resident(demo))
        walk(page, PAGES[:1])  # what was looked at last is held until something else is
        held = measure(session)
        found.server.append(median(server))
        found.heap.append(held["JSHeapUsedSize"] / MIB)
        found.gone.append(held["Nodes"] - page.evaluate(ON_PAGE))
        found.listeners.append(held["JSEventListeners"])
        print(f"minute {minute}: {found.told().splitlines()}", flush=True)
    page.close()
    assert complaints == []
    for name, values in vars(found).items():
        assert values[MINUTES - 1] < MOST * values[WARM], f"{name} grew\n{found.told()}"
