"""The choice of a cluster in the bar, where there are several."""

from __future__ import annotations

import re

from playwright.sync_api import expect
from tests.browser.site import Open, Site, ready
from tests.web.two_clusters import fleet


def test_a_cluster_is_chosen_in_the_bar_and_goes_along_to_other_pages(site: Site, visit: Open) -> None:
    site.hub.snapshot = fleet()
    page = visit("/services").page
    ready(page)
    rows = page.locator("#services-table tbody tr")
    assert rows.count() > 1
    page.get_by_label("Cluster").select_option("us")
    page.wait_for_url("**/services?cluster=us")
    expect(rows).to_have_count(1)
    page.locator("#nav-fleet").click()
    page.wait_for_url("**/fleet?cluster=us")
    expect(page.locator("#page")).to_contain_text("host-2")
    expect(page.locator("#page")).not_to_contain_text("host-0")
    page.get_by_label("Cluster").select_option("All clusters")
    page.wait_for_url(re.compile(r"/fleet$"))
    expect(page.locator("#page")).to_contain_text("host-0")


def test_a_phone_has_the_choice_in_its_menu(site: Site, visit: Open) -> None:
    site.hub.snapshot = fleet()
    page = visit("/services?cluster=us", width=390).page
    ready(page)
    expect(page.locator("html")).to_have_js_property("scrollWidth", 390)
    page.locator("#menu-open").click()
    expect(page.get_by_label("Cluster")).to_have_value("us")
    expect(page.get_by_label("Cluster")).to_be_visible()


def test_the_bar_fits_the_narrowest_window_of_one_row(site: Site, visit: Open) -> None:
    site.hub.snapshot = fleet()
    page = visit("/services?cluster=us", width=1248).page
    ready(page)
    expect(page.get_by_label("Cluster")).to_be_visible()
    expect(page.locator("html")).to_have_js_property("scrollWidth", 1248)


def test_with_one_cluster_there_is_no_choice(visit: Open) -> None:
    page = visit("/services").page
    ready(page)
    expect(page.locator("#cluster")).to_have_count(0)
