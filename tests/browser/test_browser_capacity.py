"""Capacity and Cost in a real browser."""

from __future__ import annotations

import re

from playwright.sync_api import expect
from tests.browser.site import Open, Site, assert_accessible_and_fits, at_each_width, ready
from tests.web.costs import LEDGER, PRICES
from tests.web.forecasts import FORECAST


def test_the_week_of_a_service_is_read_by_keys(visit: Open, site: Site) -> None:
    """In the browser's zone; Enter chooses the service of the chart, and the page is accessible."""
    site.hub.capacity = FORECAST
    page = visit("/capacity").page
    ready(page)
    expect(page.locator("#shortage")).to_contain_text(
        "vllm-70b exceeds its hourly safe limit tomorrow at 19:40 (80% interval"
    )
    strip = page.get_by_role("slider", name=re.compile("embedder"))
    strip.focus()
    strip.press("PageUp")
    strip.press("ArrowRight")
    expect(strip).to_have_attribute("aria-valuetext", re.compile("^tomorrow at 20:00: .*% of hourly safe limit"))
    strip.press("Enter")
    expect(page).to_have_url(re.compile("service=embedder"))
    expect(page.locator("#chosen-service")).to_have_value("1")
    assert_accessible_and_fits(page)
    row = page.locator("#replicas tbody tr").first
    expect(row.locator("td")).to_have_text(
        ["3", "+2 (5 in total, 1 short)", "+3 (6 in total, 2 short)", "+5 (8 in total, 4 short)", "1 more in chat"]
    )


def test_unused_gpus_are_listed_with_the_command_to_release_them(visit: Open, site: Site) -> None:
    """By service or another grouping; at each width the page is accessible and fits, and no name breaks in a word."""
    site.hub.cost, site.hub.prices = LEDGER, PRICES
    page = visit("/cost").page
    ready(page)
    expect(page.locator("#cost-headline")).to_have_text(
        "Releasing 1 unused GPU would save USD 48.00 per day (25% of GPU cost)."
    )
    expect(page.locator("#time")).to_be_hidden()
    expect(page.locator("#cost-figures")).to_have_text(re.compile("Busy.*Lost to neighbors.*idle.*Unallocated"))
    row = page.locator("#unused tbody tr").first
    expect(row.locator("th, td")).to_contain_text(["ml/notebook", "1", "2 d", "Scale it to 0 replicas", "host-1/gpu-1"])
    expect(row.get_by_role("button", name="Copy")).to_have_attribute("data-copy", re.compile("--replicas=0"))
    for _ in at_each_width(page):
        assert_accessible_and_fits(page)
        name = page.locator("#gpu-time tbody th a").first
        assert name.evaluate("link => link.getClientRects().length") == 1
    page.get_by_label("Group by").select_option("pool")
    expect(page).to_have_url(re.compile("by=pool"))
    expect(page.locator("#gpu-time")).to_contain_text("spare")


def test_a_service_moves_to_another_pool_by_the_controls(visit: Open, site: Site) -> None:
    """The first other pool is chosen with the service; a phone has the cases folded."""
    site.hub.capacity = FORECAST
    page = visit("/capacity").page
    ready(page)
    page.get_by_label("What if: service moved").select_option("vllm-8b")
    expect(page.locator("#shortage-detail")).to_contain_text("all replicas of vllm-8b moved to pool batch")
    page.get_by_role("combobox", name="Replicas").select_option("2")
    expect(page.locator("#shortage-detail")).to_contain_text("2 replicas of vllm-8b moved to pool batch")
    page.get_by_label("What if: host lost").select_option("host-2")
    expect(page.locator("#shortage-detail")).to_contain_text("What if: host-2 lost. This")
    page.get_by_label("What if: host lost").select_option("")
    expect(page.locator("#shortage-detail")).not_to_contain_text("What if")
    page.set_viewport_size({"width": 390, "height": 844})
    page.reload()
    ready(page)
    expect(page.get_by_label("What if: traffic")).to_be_hidden()
    page.get_by_text("What if", exact=True).click()
    page.get_by_label("What if: traffic").select_option("1.3")
    expect(page.locator("#shortage-detail")).to_contain_text("traffic x 1.3")
    assert_accessible_and_fits(page)
