"""Contention and Fleet in a real browser: read, sorted, used with the keyboard, and accessible."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from tests.browser.site import Open, Site, assert_accessible_and_fits, at_each_width, ready
from tests.conftest import soak
from tests.web.worlds import HOSTILE, NOW, SCENES

PAIR = "/contention?victim=embedder&aggressor=train-llm"
GPU = "/fleet?gpu=host-0/gpu-0"


@pytest.mark.parametrize("path", [PAIR, GPU])
def test_the_pages_are_accessible_and_fit(visit: Open, path: str) -> None:
    """With what is open on them, light and dark, wide and on a phone: nothing that axe finds, no sideways scrolling."""
    page = visit(path).page
    ready(page)
    expect(page.locator(".js-plotly-plot .main-svg:visible").first).to_be_visible()
    for _ in at_each_width(page):
        assert_accessible_and_fits(page)


def test_from_the_matrix_to_the_pair_to_a_trace_and_a_gpu(visit: Open) -> None:
    """Read who waits, open the pair, find its evidence; the address keeps it and Back returns."""
    page = visit("/contention").page
    ready(page)
    row = {"trace_id": f"{1:032x}", "service": "embedder", "operation": "POST /embed", "start": NOW - 60}
    row |= {"duration_seconds": 2.0, "aggressor_wait_seconds": 5.0, "gpu_seconds": 8.0}
    waits = {"traces": [row], "examined": 40, "time": NOW}
    page.route("**/api/pages/contention/traces?*", lambda route: route.fulfill(json=waits))
    expect(page.locator("#headline")).to_have_text("embedder waits on train-llm 46% of the time (mean of 2 GPUs).")
    expect(page.locator("#pair-open")).to_be_hidden()
    page.get_by_role(
        "link", name="embedder waits on train-llm up to 46% of the time, 2 GPUs, critical incident"
    ).click()
    expect(page.locator("#headline")).to_contain_text("embedder is degraded: p95 412 ms (baseline 105 ms)")
    expect(page.locator("#pair-facts")).to_contain_text("GPU wait 46% of the time")
    expect(page.locator("#pair-gpus tbody tr")).to_have_count(2)
    expect(page.locator("#pair-wait .main-svg").first).to_be_visible()
    expect(page.locator("#pair-traces tbody tr")).to_contain_text("5.00 s of 8.00 s (63%)2.00 s *")
    expect(page.locator("#pair-traces .note")).to_contain_text(
        "* GPU wait also includes GPU work that continued after the client span ended."
    )
    assert "victim=embedder&aggressor=train-llm" in page.url
    page.locator("#pair-gpus").get_by_role("link", name="host-0/gpu-1").click()
    expect(page.locator("#gpu-title")).to_have_text("host-0/gpu-1")
    page.go_back()
    page.get_by_role("button", name="Close pair").click()
    expect(page.locator("#pair-open")).to_be_hidden()


def test_the_matrix_is_sorted_by_its_heads_and_tables_by_a_column(visit: Open) -> None:
    """The address keeps both, and so does what a screen reader reads."""
    page = visit("/contention?order=name&all=1").page
    ready(page)
    rows = page.locator("#waits .matrix tbody th")
    page.get_by_role("button", name="All pairs").click()
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="All pairs").click()
    expect(rows.locator("button")).to_have_text(["batch-eval", "embedder", "reranker", "train-llm"])
    page.locator("#waits .matrix thead").get_by_role("button", name="train-llm").click()
    expect(rows.first).to_contain_text("embedder")
    assert "order=column%3Atrain-llm" in page.url
    head = page.locator("#gpus").get_by_role("columnheader", name="GPU", exact=True)
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    assert "sort=gpu" in page.url


def test_the_fleet_is_read_and_opened_with_the_keyboard(visit: Open) -> None:
    """Arrow keys move, Enter opens; the switch changes the metric of the grid, and the filter the inventory."""
    page = visit("/fleet").page
    ready(page)
    expect(page.locator("#counts")).to_contain_text("32 GPUs on 4 hosts")
    page.locator("#grid-field").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#grid-reading")).to_contain_text("host-0/gpu-1: 99% busy")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    expect(page.locator("#gpu-title")).to_have_text("host-0/gpu-0")
    expect(page.locator("#gpu")).to_contain_text("Hardware health unknown: no data on errors or throttling")
    expect(page.locator("#gpu-use .main-svg").first).to_be_visible()
    switch = page.get_by_role("group", name="Metric of the grid")
    switch.get_by_role("button", name="Temperature").click()
    expect(page.locator("#grid-legend")).to_contain_text("Temperature 20 °C")
    expect(switch.get_by_role("button", name="Throttled")).to_be_disabled()
    page.get_by_label("Filter").fill("host-2")
    expect(page.locator("#inventory-hint")).to_have_text("8 of 32 GPUs · H100")
    expect(page.locator("#inventory-panel").get_by_role("link", name="CSV")).to_have_attribute(
        "href", "/api/csv/gpus?q=host-2"
    )
    for part in ("gpu=host-0%2Fgpu-0", "metric=temperature", "q=host-2"):
        assert part in page.url


def test_an_evaluation_updates_the_grid_in_place(visit: Open, site: Site) -> None:
    """Only the values change: the plot and what the reader opened stay."""
    page = visit("/fleet").page
    ready(page)
    page.wait_for_selector("#grid-plot .main-svg")
    page.evaluate("window.plot = document.querySelector('#grid-plot .main-svg')")
    before = int(page.locator("#grid-plot").get_attribute("data-drawn") or 0)
    later = SCENES["half-blind"]()
    site.hub.snapshot = type(later)(8, later.world, later.incidents, later.learning, later.error)
    expect(page.locator("#counts")).to_contain_text("8 without data")
    page.wait_for_function("before => Number(document.getElementById('grid-plot').dataset.drawn) > before", arg=before)
    assert page.evaluate("document.querySelector('#grid-plot .main-svg') === window.plot")


@pytest.mark.parametrize("path", ["/contention", "/fleet?q=onerror"])
def test_a_hostile_name_is_text(visit: Open, site: Site, path: str) -> None:
    """In the matrix, the tables, the charts' legends and the grid."""
    site.hub.snapshot = SCENES["hostile"]()
    page = visit(path).page
    ready(page)
    expect(page.locator("main")).to_contain_text(HOSTILE)
    if path == "/contention":
        page.locator("#waits td.critical a").click()
        expect(page.locator("#pair-use .legend").first).to_contain_text("onerror")
    assert page.locator("main img, main script").count() == 0


@pytest.mark.parametrize(
    ("scene", "words"),
    [
        ("blind", "No GPU wait data."),
        *soak(
            ("empty", "No GPUs: no target exports gpu_info. Run foreshock-exporter"),
            ("error", "Cannot read the source: prometheus"),
        ),
    ],
)
def test_missing_data_has_a_reason_and_is_never_zero(visit: Open, site: Site, scene: str, words: str) -> None:
    """No page is blank, loads forever, or looks healthy, whatever is missing."""
    site.hub.snapshot = SCENES[scene]()
    page = visit("/contention").page
    expect(page.locator("#headline")).to_contain_text(words)
    expect(page.locator("#verdict")).to_have_attribute("data-state", {"blind": "unknown"}.get(scene, scene))
    if scene == "error":
        expect(page.locator("#live")).to_have_text("Stale: no data yet")
    page.locator("#nav-fleet").click()
    panel = page.locator("#grid-panel")
    if scene == "blind":
        expect(page.locator("#counts")).to_contain_text("32 without data")
        expect(page.locator("#inventory tbody tr").first).to_contain_text("–")
    else:
        expect(panel).to_have_attribute("data-state", "empty" if scene == "empty" else "error")
    if scene == "error":
        page.goto(f"{site.url}/services/embedder")
        expect(page.locator("#service-verdict")).to_have_attribute("data-state", "error")
        expect(page.locator("#callers-message")).to_contain_text("refuses connections")
