"""The frame around every page: time range, time travel, keys, search and help, as an on-call engineer uses them."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect
from tests.browser.site import Open
from tests.conftest import soak
from tests.web.worlds import NOW

REWIND = "#rewind-at"


def query(page: Page) -> dict[str, str]:
    """The parameters in the address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def test_the_range_lives_in_the_address_and_goes_along_to_other_pages(visit: Open) -> None:
    """Chosen from the list, typed, moved and zoomed out; Back undoes it, and a link carries it."""
    page = visit().page
    page.locator("#time-label").click()
    page.get_by_role("button", name="Last 6 h").click()
    expect(page.locator("#time-label")).to_have_text("Last 6 h")
    assert query(page) == {"from": "now-6h"}
    page.locator("#nav-traces").click()
    page.wait_for_url("**/traces?from=now-6h")
    page.go_back()
    page.go_back()
    expect(page.locator("#time-label")).to_have_text("Last 30 min")
    expect(page.locator("#headline")).to_contain_text("embedder is degraded")
    expect(page.locator("#live")).to_have_text(re.compile(r"^Live · \d s ago$"))
    page.keyboard.press("t")
    page.keyboard.press("z")
    page.wait_for_url(re.compile("from=176406"))
    assert NOW - 3600 < int(query(page)["from"]) / 1000 < NOW - 1800


def test_the_past_is_shown_as_past(visit: Open) -> None:
    """The verdict of then, a badge that says so, no further questions, and one step back to live."""
    page = visit("/?to=2025-11-25T09:55:00Z").page
    expect(page.locator("#live")).to_contain_text("Past: 18:55:00 GMT+9")
    expect(page.locator("#headline")).not_to_contain_text("embedder")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator(REWIND).focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#live")).to_contain_text("Past: 18:55:10")
    assert len([url for url in asked if "/api/now?" in url and "at=" in url]) == 1
    page.get_by_role("button", name="Back to live").click()
    expect(page.locator("#headline")).to_contain_text("embedder is degraded")
    expect(page.locator("#live")).to_have_text(re.compile(r"^Live · \d s ago$"))


@pytest.mark.parametrize("path", ["/", "/cascade"])
def test_the_lanes_of_the_past_end_at_their_time_and_not_now(visit: Open, path: str) -> None:
    """A picture that is sent on says by itself that it is of another time."""
    expect(visit(f"{path}?to=2025-11-25T09:59:00Z").page.locator("#timeline .now-text")).to_have_text("18:59:00")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("/?to=yesterday", "to=yesterday is not a valid time. Use now-6h, now/d, 2026-11-26T03:00:00Z, or"),
        ("/cascade?from=now-5s", "from=now-5s is less than a minute before the end time. Use a longer range."),
        ("/?refresh=often", "refresh=often is not a valid interval. Use 5s, 1m, or off."),
        (
            "/contention?victm=embedder",
            "Unknown parameter victm (allowed: victim, aggressor, order,",
        ),
    ],
)
def test_ignored_parts_of_the_address_are_reported_with_the_remedy(visit: Open, address: str, words: str) -> None:
    """The default is shown meanwhile, and a click leaves it out of the address."""
    page = visit(address).page
    expect(page.locator("#ignored")).to_contain_text(words)
    expect(page.locator("#time-label")).to_have_text("Last 30 min")
    expect(page.locator("main")).to_contain_text("embedder")
    page.get_by_role("link", name="Remove").click()
    expect(page.locator("#ignored")).to_be_hidden()
    assert query(page) == {}


def test_keys_lead_to_pages_search_and_help(visit: Open) -> None:
    """g and a letter, / and a name, ? for the list; Escape closes."""
    page = visit().page
    expect(page.locator("#headline")).to_contain_text("embedder")
    page.keyboard.press("g")
    page.keyboard.press("t")
    page.wait_for_url("**/traces")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Help")).to_contain_text("go to Traces")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.get_by_role("combobox", name="Search").fill("embed")
    expect(page.locator("#search-list li").first).to_have_text("service embedder")
    page.keyboard.press("Enter")
    page.wait_for_url("**/services/embedder")
    page.keyboard.press("/")
    page.get_by_role("combobox", name="Search").fill("noisyneighbor")
    expect(page.locator("#search-list li").first).to_have_text("alert ForeshockGPUNoisyNeighbor")
    page.keyboard.press("Enter")
    page.wait_for_url("**/runbooks/ForeshockGPUNoisyNeighbor")


def test_times_are_shown_in_the_zone_that_was_chosen(visit: Open) -> None:
    """The browser's own, or UTC; the choice is kept."""
    page = visit().page
    expect(page.locator("#verdict")).to_contain_text("18:56:50")
    page.locator("#time-label").click()
    page.get_by_role("button", name="Show UTC").click()
    expect(page.locator("#verdict")).to_contain_text("09:56:50 UTC")
    page.reload()
    expect(page.locator("#verdict")).to_contain_text("09:56:50 UTC")


@pytest.mark.parametrize("path", ["/", "/services/embedder", *soak("/cascade", "/fleet?gpu=host-0/gpu-0")])
def test_sentences_have_times_in_the_zone_of_all_other_times(visit: Open, path: str) -> None:
    """The analysis has them in UTC for every reader: a page has one zone, the reader's unless UTC was chosen."""
    page = visit(path).page
    expect(page.locator("main")).to_contain_text("18:56:50")
    expect(page.locator("main")).not_to_contain_text("UTC")
    page.locator("#time-label").click()
    page.get_by_role("button", name="Show UTC").click()
    expect(page.locator("main")).to_contain_text("09:56:50 UTC")
    expect(page.locator("main")).not_to_contain_text("18:56")


def test_a_page_whose_script_is_missing_says_so(visit: Open) -> None:
    """After an upgrade of the hub, an open document has the scripts of the version before. Other pages go on."""
    opened = visit()
    page = opened.page
    page.route("**/assets/status.js*", lambda route: route.abort())
    page.locator("#nav-status").click()
    expect(page.locator("#wrong")).to_have_text("This page's script could not be loaded. Reload the page.")
    page.locator("#nav-fleet").click()
    expect(page.locator("#counts")).to_contain_text("32 GPUs on 4 hosts")
    expect(page.locator("#wrong")).to_be_hidden()
    opened.complaints.clear()  # the browser's own, of the script
