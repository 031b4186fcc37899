"""`make picture`: takes the README's picture of the real page, over the demo."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import httpx
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parent.parent
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync"
PATIENCE = 120.0


def main() -> int:
    """Run the demo until a warning stands, then take the picture."""
    command = [sys.executable, "-m", "foreshock_dashboard", "demo", "--no-browser", "--port", "0", "--speed", "3"]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert demo.stdout
        url = demo.stdout.readline().split()[-1]
        deadline = time.monotonic() + PATIENCE
        while not httpx.get(f"{url}api/warnings", trust_env=False).json()["warnings"]:
            if time.monotonic() > deadline:
                print("no warning came", file=sys.stderr)
                return 1
            time.sleep(1)
        time.sleep(8)
        take(url, ROOT / "docs" / "now.png")
    finally:
        demo.terminate()
        demo.wait(30)
    return 0


def take(url: str, path: Path) -> None:
    """A picture of the page's first screens, dark."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS.split())
        page = browser.new_page(viewport={"width": 1280, "height": 1080}, color_scheme="dark")
        page.goto(url)
        page.get_by_text("starves").first.wait_for()
        page.wait_for_timeout(1500)
        page.screenshot(path=path)
        browser.close()
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
