"""Traces in a real browser: the list with its filters, and one trace."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from tests.browser.site import Open, Site, ready
from tests.web.worlds import HOSTILE, NOW, FakeTraces

TRACE = f"/traces?trace={1:032x}"


def test_an_open_incident_leads_to_the_slowest_traces_of_its_services(visit: Open) -> None:
    page = visit("/traces").page
    page.locator("#incident-traces a").first.click()
    expect(page.locator("#list-hint")).to_have_text("slowest first, service = embedder")


@pytest.mark.parametrize(("order", "words"), [("", "newest first"), ("?order=slowest", "slowest first")])
def test_a_full_list_says_which_of_all_matches_it_holds(visit: Open, site: Site, order: str, words: str) -> None:
    """They are not just the first that were found."""
    site.hub.traces.count = 60
    page = visit(f"/traces{order}").page
    expect(page.locator("#list .note")).to_contain_text("First 50 traces.")
    expect(page.locator("#list-hint")).to_contain_text(words)


def test_a_list_that_holds_all_says_so(visit: Open) -> None:
    """Nothing was left out."""
    expect(visit("/traces").page.locator("#list .note")).to_contain_text("40 traces.")


def test_the_newest_traces_have_no_column_of_waits_until_one_is_known(visit: Open, site: Site) -> None:
    """What ran on their GPUs is still on its way; the note says when it is known, and where such traces are."""
    site.hub.traces, site.hub.time = FakeTraces(1), NOW - 50
    page = visit("/traces").page
    expect(page.locator("#list tbody tr")).to_have_count(1)
    expect(page.locator("#list thead")).not_to_contain_text("GPU wait")
    expect(page.locator("#list")).to_contain_text(
        "GPU wait becomes available 20 s after a trace ends. Longest GPU wait"
    )
    site.hub.time = NOW
    page.reload()
    expect(page.locator("#list thead")).to_contain_text("GPU wait")
    expect(page.locator("#list .note")).not_to_contain_text("20 s")


def test_a_list_of_the_past_is_requested_again_after_no_response(visit: Open) -> None:
    """New values do not request it: on a busy hub the first answer may time out."""
    page = visit("/", quiet=False).page
    lists = "**/api/traces?*"
    page.route(lists, lambda route: route.abort())
    page.goto(page.url + f"traces?from={(NOW - 600) * 1000:.0f}&to={NOW * 1000:.0f}")
    expect(page.locator("#list-message")).to_have_text("No response from the hub. Retrying.")
    page.unroute(lists)
    expect(page.locator("#list tbody tr").first).to_be_visible()


def test_a_hostile_attribute_is_text_in_a_trace(visit: Open) -> None:
    """A statement that was sent to a database is shown, not run."""
    page = visit(f"{TRACE}&span={11:016x}").page
    expect(page.locator("#span-detail")).to_contain_text(HOSTILE)
    assert page.locator("main img").count() == 0


def test_a_service_leads_to_its_slowest_traces_and_back(visit: Open) -> None:
    """Without reloading the page; Back returns."""
    page = visit().page
    page.evaluate("window.untouched = true")
    page.locator("#evidence").get_by_role("link", name="Slowest traces").click()
    expect(page.get_by_role("heading", name="Traces", exact=True, level=1)).to_be_visible()
    expect(page.locator("#list-hint")).to_contain_text("slowest first, service = embedder")
    expect(page.get_by_label("Service")).to_have_value("embedder")
    assert page.evaluate("window.untouched")
    page.go_back()
    expect(page.get_by_role("alert")).to_contain_text("embedder is degraded")


def test_filters_live_in_the_address(visit: Open) -> None:
    """A query can be sent to a colleague as a link."""
    page = visit("/traces").page
    ready(page)
    page.get_by_label("Min duration").fill("500ms")
    page.get_by_label("Status").select_option("error")
    page.locator("#trace-filters").get_by_role("button", name="Search").click()
    expect(page.locator("#list-hint")).to_contain_text("duration ≥ 500 ms, status = error")
    assert "min_duration=500ms" in page.url
    assert "status=error" in page.url


def test_an_address_with_errors_selects_that_status(visit: Open) -> None:
    """Links that were sent on before there was a choice of status."""
    page = visit("/traces?errors=true").page
    ready(page)
    expect(page.get_by_label("Status")).to_have_value("error")
    page.get_by_label("Status").select_option("unset")
    expect(page.locator("#list-hint")).to_contain_text("status = unset")
    assert "errors" not in page.url


def test_no_match_says_of_what_it_is_empty(visit: Open) -> None:
    """Not a blank table."""
    page = visit("/traces?service=batch-eval&min_duration=90s").page
    expect(page.locator("#list-message")).to_contain_text(
        "No traces match service = batch-eval, duration ≥ 90.0 s in this time range."
    )


def test_an_empty_list_says_what_was_looked_for_and_what_to_do(visit: Open) -> None:
    """A service may have stopped: that nothing is known of it now is no mistake."""
    page = visit("/traces?service=absent", quiet=False).page
    expect(page.locator("#list-message")).to_contain_text("No traces match service = absent in this time range.")
    expect(page.locator("#list-message")).to_contain_text("Clear the filters, or choose a longer time range.")


def test_a_bad_filter_is_explained(visit: Open) -> None:
    """With the words of the API."""
    page = visit("/traces?min_duration=fast", quiet=False).page
    expect(page.locator("#list-message")).to_contain_text(
        "min_duration='fast': is not a valid duration; use 100ms, 10s, 5m, 2h, or 7d"
    )


def test_a_link_opens_a_trace_at_a_span(visit: Open) -> None:
    """The tree, the bars with their lengths, and the attributes of the span in the link."""
    page = visit(f"{TRACE}&span={7:016x}").page
    tree = page.get_by_role("tree")
    expect(tree.get_by_role("treeitem")).to_have_count(7)
    picked = tree.get_by_role("treeitem", selected=True)
    words = "embedder embed, 430 ms, at 50 ms, error, 430 ms on the critical path"
    expect(picked).to_have_attribute("aria-label", words)
    expect(picked).to_have_attribute("aria-level", "3")
    expect(page.locator("#span-detail")).to_contain_text("deadline exceeded")


def test_a_trace_is_walked_with_the_keyboard(visit: Open) -> None:
    """Down, fold, unfold, select; the address follows."""
    page = visit(TRACE).page
    tree = page.get_by_role("tree")
    expect(tree.get_by_role("treeitem")).to_have_count(7)
    tree.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowLeft"):
        page.keyboard.press(key)
    expect(tree.get_by_role("treeitem")).to_have_count(3)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#span-detail")).to_contain_text("deadline exceeded")
    assert f"span={7:016x}" in page.url


SHOW_AGAIN = """async () => {
  const { fetchJson } = await import("#web/assets/fetch_json.js");
  const { showTrace } = await import("#web/pages/traces/waterfall/waterfall.js");
  const trace = await fetchJson(`/api/traces/${new URLSearchParams(location.search).get("trace")}`);
  showTrace(document.getElementById("trace"), { ...trace, left_out: 3, note: "some are missing" }, "", true);
}"""
"""Shows the trace that is open with two facts more."""


def test_a_row_of_the_list_opens_its_trace_and_close_returns(visit: Open) -> None:
    """The list stays where it is."""
    page = visit("/traces").page
    page.locator("#list").get_by_role("link").first.click()
    expect(page.get_by_role("tree")).to_be_visible()
    page.evaluate(SHOW_AGAIN)  # as happens once what ran on its GPUs has arrived
    expect(page.locator("#trace")).to_contain_text("some are missing")
    page.get_by_role("button", name="Close trace").click()
    expect(page.locator("#trace-panel")).to_be_hidden()
    assert page.url.endswith("/traces")


def test_an_unknown_trace_is_reported(visit: Open) -> None:
    """With what may have become of it."""
    page = visit("/traces?trace=99", quiet=False).page
    expect(page.locator("#trace-message")).to_contain_text("past the retention, or not received yet")
