"""`make picture`: takes the pictures of the documents, of the real pages over two recordings."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "img"
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync"
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
DRAWN = """() => ![...document.querySelectorAll(
  '.panel[data-state="loading"], .chart:not(:has(.xtick, .annotation))'
)].some((part) => part.checkVisibility() && !part.closest('.panel[data-state="empty"]'))"""
"""Whether all panels and charts in sight are drawn."""
SETTLED = 2000
"""Milliseconds until a page that is drawn moves no more."""
PATIENCE = 240_000
"""Milliseconds for a page's first data: lists by GPU wait read all their traces."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture: of which scenario at which instant, of which page, and how it is looked at.

    first: a link that is followed before the picture is taken. whole: all of the page and not its first screen alone.
    """

    name: str
    scenario: str
    at: str
    path: str
    scheme: str = "light"
    narrow: bool = False
    first: str = ""
    whole: bool = False


NEIGHBOR, OUTAGE = ("noisy-neighbor", "2026-01-05T08:43:50Z"), ("outage", "2026-01-05T08:45:30Z")
WARNED, BREACHED = ("noisy-neighbor", "2026-01-05T08:41:30Z"), ("noisy-neighbor", "2026-01-05T08:56:00Z")
PAIR = "/contention?victim=serving/llm-chat&aggressor=ml/batch-embed"
TAKEN = (
    Picture("now-light", *WARNED, "/"),
    Picture("now-dark", *WARNED, "/", "dark"),
    Picture("now-390", *WARNED, "/", narrow=True),
    Picture("contention", *NEIGHBOR, PAIR, whole=True),
    Picture("fleet", *NEIGHBOR, "/fleet"),
    Picture("trace", *NEIGHBOR, "/traces?service=serving/gateway&order=gpu_wait", first="#list tbody a"),
    Picture("service", *NEIGHBOR, "/services/serving/llm-chat"),
    Picture("cascade", *BREACHED, "/cascade", whole=True),
    Picture("status", *OUTAGE, "/status"),
)


def main() -> int:
    """Record what is needed, serve it, and take every picture."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=Path, metavar="DIR", help="folder of recordings, kept for the next run")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(item.name for item in TAKEN)}")
    arguments = parser.parse_args()
    chosen = [picture for picture in TAKEN if picture.name in (arguments.names or [item.name for item in TAKEN])]
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="foreshock-picture-") as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium-headless-shell", args=FLAGS.split())
        for scenario, at in dict.fromkeys((picture.scenario, picture.at) for picture in chosen):
            recording = (arguments.recordings or Path(folder)) / scenario
            if not recording.exists():
                simulate = ["dev", "simulate", scenario, "--size", "demo", "--duration", "75m"]
                subprocess.run([*_foreshock(), *simulate, "--output-dir", str(recording)], check=True)
            with served(recording, at) as url:
                for picture in chosen:
                    if (picture.scenario, picture.at) == (scenario, at):
                        take(browser, url, picture)
        browser.close()
    return 0


@contextmanager
def served(recording: Path, at: str) -> Iterator[str]:
    """A hub over a recording; gives its address. Its pages name the recording without its folder."""
    ports = [text for flag in ("--port", "--otlp-grpc-port", "--otlp-http-port") for text in (flag, "0")]
    command = [*_foreshock(), "serve", "--recording", recording.name, "--at", at, *ports]
    hub = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=recording.parent)
    try:
        assert hub.stdout
        yield next(line.split()[-1] for line in hub.stdout if line.startswith("page"))
    finally:
        hub.terminate()
        hub.wait(30)


def take(browser: Browser, url: str, picture: Picture) -> None:
    """Open a page, wait until it is drawn, and write its picture."""
    page = browser.new_page(
        viewport=NARROW if picture.narrow else WIDE,  # type: ignore[arg-type]  # a ViewportSize
        color_scheme=picture.scheme,  # type: ignore[arg-type]  # light or dark
        reduced_motion="reduce",
        timezone_id="UTC",
    )
    page.set_default_timeout(PATIENCE)
    page.goto(url.rstrip("/") + picture.path)
    page.locator("#live").get_by_text("Replay").wait_for()
    if picture.first:
        page.locator(picture.first).first.click()
    page.wait_for_timeout(SETTLED)
    page.wait_for_function(DRAWN)
    page.wait_for_timeout(SETTLED)
    path = PICTURES / f"{picture.name}.png"
    page.screenshot(path=path, full_page=picture.whole)
    page.close()
    print(f"wrote {path.relative_to(ROOT)}")


def _foreshock() -> list[str]:
    return [sys.executable, "-m", "foreshock_dashboard"]


if __name__ == "__main__":
    sys.exit(main())
