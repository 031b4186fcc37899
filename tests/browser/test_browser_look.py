"""The look of every page, as the browser lays it out: sizes of text, spaces of cards, figures, and links."""

from __future__ import annotations

from dataclasses import replace

import pytest
from playwright.sync_api import expect
from tests.browser.site import Open, Scheme, Site, ready
from tests.web.worlds import contended, contention_incident, snapshot

from foreshock_dashboard.model.forecast import Forecast, Load, ServiceSlo
from foreshock_dashboard.model.incident import AtRisk

PAGES = ("now", "contention", "cascade", "fleet", "traces", "services", "status")
FONT_SIZES = {"12px", "14px", "16px", "20px", "24px"}
CARDS = "main, .verdict, .panel, .figure, .panels, .figures, .action"
SPACE = 8
"""Pixels of the grid that the paddings and gaps of cards are on."""
MEASURED = """(cards) => {
  const shown = [...document.querySelectorAll("body *")]
    .filter((one) => one.checkVisibility() && one.clientWidth !== 1);
  const text = shown.filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
  const styleOf = (one) => getComputedStyle(one);
  const contexts = {
    headline: ".headline a",
    table: "main :is(td, th) a:not(.matrix td a)",
    text: "main :is(p:not(.headline), dd, li:not(.incidents li)) > a",
  };
  const links = (selector) => new Set([...document.querySelectorAll(selector)]
    .filter((one) => one.checkVisibility() && !one.closest("svg"))
    .map((one) => `${styleOf(one).color} ${styleOf(one).textDecorationLine}`));
  const spaces = ["paddingTop", "paddingRight", "paddingBottom", "paddingLeft", "rowGap", "columnGap"];
  return {
    sizes: [...new Set(text.map((one) => styleOf(one).fontSize))],
    proportional: text.filter((one) => !/tabular/.test(styleOf(one).fontVariantNumeric)
      && !/mono/.test(styleOf(one).fontFamily) && !one.closest("svg.main-svg"))
      .map((one) => one.outerHTML.slice(0, 80)),
    spaces: [...document.querySelectorAll(cards)].filter((one) => one.checkVisibility()).flatMap((one) => spaces
      .map((name) => [one.className || one.tagName, name, parseFloat(styleOf(one)[name]) || 0])),
    links: Object.fromEntries(Object.entries(contexts).map(([name, selector]) => [name, [...links(selector)]])),
  };
}"""


FITS = "(selector) => [...document.querySelectorAll(selector)].every((box) => box.scrollWidth <= box.clientWidth)"
"""Whether some boxes need no scrolling sideways."""


def test_every_page_keeps_to_the_scale_of_type_the_grid_and_one_style_of_links(visit: Open) -> None:
    """Five sizes from 12 px on, spaces of cards in steps of 8 px, tabular figures, one style of links in each place."""
    page = visit().page
    for name in PAGES:
        if name != "now":
            page.locator(f"#nav-{name}").click()
            expect(page.locator(f"[data-page={name}]")).to_be_attached()
        ready(page)
        found = page.evaluate(MEASURED, CARDS)
        assert set(found["sizes"]) <= FONT_SIZES, name
        assert found["proportional"] == [], name
        assert [space for space in found["spaces"] if space[2] % SPACE] == [], name
        assert [context for context, styles in found["links"].items() if len(styles) > 1] == [], (name, found["links"])


def test_no_page_is_wider_than_its_window(visit: Open, site: Site) -> None:
    """The table of services, with forecasts and their reasons, is no wider than its panel either."""
    world = contended({"train-llm": "batch-embed", "embedder": "llm-chat", "rag-api": "assistant-feature"})
    risks = tuple(AtRisk(service, 60.0, 150.0, 1200.0, 50.0, 3000.0) for service in world.services[:6])
    slos = tuple(ServiceSlo(service, 17.3, 0.016, learned=True) for service in world.services)
    loads = tuple(Load(service, "", 0.81, 0.76) for service in world.services[:3])
    item = replace(contention_incident(world), at_risk=risks)
    site.hub.snapshot = replace(snapshot(world, item, seq=9), forecast=Forecast(slos=slos, loads=loads))
    page = visit().page
    for name in (*PAGES, "capacity", "cost"):
        if name != "now":
            page.locator(f"#nav-{name}").click()
            expect(page.locator(f"[data-page={name}]")).to_be_attached()
        ready(page)
        for width in (1440, 390, 1280):  # the last one has the links to the next page
            page.set_viewport_size({"width": width, "height": 900})
            expect(page.locator("html")).to_have_js_property("scrollWidth", width)
            if name == "services":
                expect(page.locator("#services-table .interval").first).to_contain_text("80% interval: 50 s to")
                page.wait_for_function(FITS, arg="#service-list .scroll")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_legend_outlines_each_phase_in_the_color_of_its_sign(visit: Open, scheme: Scheme) -> None:
    """A fill as faint as behind the lanes nearly vanishes alone."""
    page = visit(scheme=scheme).page
    keys = "<i class='lane-key phase paged'></i><i class='lane-key breached'><span></span></i>"
    page.locator("body").evaluate("(body, keys) => body.insertAdjacentHTML('beforeend', keys)", keys)
    color = page.locator("i.lane-key.breached span").evaluate("sign => getComputedStyle(sign).color")
    phase = page.locator("i.lane-key.phase.paged")
    assert phase.evaluate("key => getComputedStyle(key, '::before').borderTopColor") == color


def test_the_severity_on_now_has_the_color_of_the_banner(visit: Open) -> None:
    """One color for a state, whatever else stands in its row."""
    page = visit().page
    expect(page.locator("#verdict .chip")).to_contain_text("firing")
    color = page.locator("#verdict").evaluate("banner => getComputedStyle(banner).borderLeftColor")
    expect(page.locator("#verdict .chip")).to_have_css("background-color", color)
