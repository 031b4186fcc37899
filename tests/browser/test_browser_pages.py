"""The pages in a real browser: they say what they should, stay alive, and can be used by everybody."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from bench.hub.page import MAX_FIRST_LOAD_KB, TRANSFERRED_KB
from playwright.sync_api import expect
from tests.browser.site import Open, Scheme, Site, assert_accessible_and_fits, at_each_width, ready
from tests.conftest import soak
from tests.web.worlds import HOSTILE, SCENES, contended, contention_incident, snapshot

from foreshock_dashboard.model.snapshot import Snapshot

QUICK = ("blind", "error", "hostile")
"""Scenes that every run looks at; those of `contended` are the other tests."""
TRACE = f"/traces?trace={1:032x}"


@pytest.mark.parametrize("path", ["/traces", "/nowhere", *soak("/", "/cascade", f"{TRACE}&span={7:016x}")])
def test_a_page_is_accessible_and_fits(visit: Open, path: str) -> None:
    """Light, dark and on a phone: no violation that axe finds, and no sideways scrolling.

    Every run looks at Now and Cascade during a cascade, and at a trace with more spans, in the tests of their files.
    """
    page = visit(path, quiet=path != "/nowhere").page
    if path != "/nowhere":
        ready(page)
    else:
        expect(page.get_by_role("heading", name="Page not found")).to_be_visible()
        expect(page.locator("#live")).to_have_text("No page")
    if path.startswith("/traces"):
        expect(page.locator("#heat .main-svg").first).to_be_visible()
    for _ in at_each_width(page):
        assert_accessible_and_fits(page)


@pytest.mark.parametrize("scene", [*QUICK, *soak(*sorted(set(SCENES) - {"contended", *QUICK}))])
def test_every_state_of_the_platform_is_accessible(visit: Open, site: Site, scene: str) -> None:
    """Healthy, learning, empty, broken, stale or with hostile names, in light and in dark."""
    site.hub.snapshot = SCENES[scene]()
    page = visit("/", "light").page
    expect(page.locator("#headline")).not_to_have_text("Loading…")
    expect(page.locator('.panel[data-state="loading"]')).to_have_count(0)
    assert_accessible_and_fits(page)


def test_the_headline_names_the_affected_service_and_its_condition(visit: Open) -> None:
    """Then come since when, the evidence, and the badge that the data is simulated."""
    page = visit().page
    expect(page.get_by_role("alert")).to_have_text(
        re.compile("^Critical incident · firing: embedder is degraded.*Suspected cause: .*train-llm")
    )
    expect(page.locator("#verdict-detail")).to_contain_text("train-llm")
    expect(page.locator("#evidence")).to_contain_text("GPU time")
    expect(page.locator("#simulated")).to_be_visible()
    expect(page.locator("#matrix")).to_contain_text("46%")
    expect(page).to_have_title("⬢ embedder is degraded · Now · foreshock")


def test_times_are_in_the_browsers_zone_with_the_exact_stamp_on_hover(visit: Open) -> None:
    """The visitor sits in Tokyo; the tooltip is UTC."""
    time = visit().page.locator("#verdict-detail time").first
    expect(time).to_have_text("18:56:50")
    expect(time).to_have_attribute("title", "2025-11-25T09:56:50.000Z")


@pytest.mark.parametrize(
    ("scene", "words"),
    [
        ("healthy", "No incidents: 12 services on 32 GPUs"),
        ("blind", "No data: no fresh samples from any GPU or service since 18:55:00"),
        ("error", "Cannot read the source"),
        *soak(
            ("learning", "Building baseline: 12 of 30 min"),
            ("empty", "No services and no GPUs yet"),
        ),
    ],
)
def test_the_page_follows_the_hub_without_reload(visit: Open, site: Site, scene: str, words: str) -> None:
    """The next tick is on the page by itself, and what the reader unfolded stays unfolded."""
    page = visit().page
    ready(page)
    page.evaluate("window.untouched = true")
    page.get_by_text("GPUs as a table").click()
    later = SCENES[scene]()
    site.hub.snapshot = Snapshot(8, later.world, later.incidents, later.learning, later.error)
    expect(page.get_by_role("alert")).to_contain_text(words)
    assert page.evaluate("window.untouched")
    assert page.locator("#grid-twin").get_attribute("open") is not None


def test_figures_move_while_the_headline_stays(visit: Open, site: Site) -> None:
    """A screen reader does not repeat the same sentence at every evaluation."""
    page = visit().page
    ready(page)
    page.evaluate(
        "window.announced = 0; new MutationObserver(() => window.announced++).observe("
        "document.getElementById('verdict-alert'), {childList: true, characterData: true, subtree: true})"
    )
    site.hub.time += 120
    site.hub.snapshot = snapshot(world := contended(), contention_incident(world), seq=8)
    expect(page.locator("#verdict-detail")).to_contain_text("5 min 13 s")
    assert page.evaluate("window.announced") == 0


def test_a_dead_hub_is_reported_within_seconds_until_it_returns(visit: Open, site: Site) -> None:
    """Old figures are marked; when the hub is back so is the page, without reload."""
    page = visit(quiet=False).page
    ready(page)
    site.stop()
    expect(page.locator("#lost")).to_contain_text("Connection lost: data is", timeout=30_000)
    expect(page.locator("#matrix-panel")).to_have_attribute("data-state", "stale")
    expect(page.locator("#matrix-panel .stale-mark")).to_be_visible()
    site.start()
    expect(page.locator("#lost")).to_be_hidden(timeout=40_000)
    expect(page.locator("#matrix-panel")).to_have_attribute("data-state", "ready")


def test_a_source_that_stopped_makes_the_page_stale(visit: Open, site: Site) -> None:
    """The hub answers, but with stale figures: the page says so."""
    site.hub.snapshot = SCENES["stale"]()
    page = visit().page
    expect(page.locator("#live")).to_contain_text("Stale: data is 3 s old")
    expect(page.locator("#verdict-detail")).to_contain_text("refuses connections: start it")
    expect(page.locator("#services-panel")).to_have_attribute("data-state", "stale")
    mark = "getComputedStyle(document.querySelector('.chip'), '::before').content"
    assert page.evaluate(mark) == '"? "'
    site.hub.time += 60
    site.hub.snapshot = replace(site.hub.snapshot, seq=8)
    expect(page.get_by_role("alert")).to_contain_text("No data: no fresh samples from any target since 19:00:00")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_blind_looks_like_neither_healthy_nor_critical(visit: Open, site: Site, scheme: Scheme) -> None:
    """By its color, its pattern, its mark and the title of the tab."""
    looks = set()
    page = visit("/", scheme).page
    script = """() => {
        const [box, mark] = [document.getElementById("verdict"), document.querySelector(".chip")];
        const style = getComputedStyle(box);
        return [style.borderLeftColor, style.backgroundImage === "none", getComputedStyle(mark, "::before").content];
    }"""
    states = ("critical", "healthy", "unknown")
    for seq, scene in enumerate(("contended", "healthy", "blind"), start=8):
        later = SCENES[scene]()
        site.hub.snapshot = Snapshot(seq, later.world, later.incidents, later.learning, later.error)
        expect(page.locator("#verdict")).to_have_attribute("data-state", states[seq - 8])
        looks.add(tuple(page.evaluate(script)))
    assert len({color for color, _, _ in looks}) == 3
    assert {mark for _, _, mark in looks} == {'"⬢ "', '"● "', '"? "'}
    assert [mark for _, plain, mark in looks if not plain] == ['"? "']
    expect(page).to_have_title("? no data · Now · foreshock")
    expect(page.locator("#verdict-detail")).to_contain_text("Last data 18:55:00 (5 min 3 s ago)")


def test_what_has_no_data_says_so_everywhere(visit: Open, site: Site) -> None:
    """In the matrix, on the GPUs, on the map, in the tables; no old figure, and no zero."""
    site.hub.snapshot = SCENES["blind"]()
    page = visit().page
    ready(page)
    expect(page.locator("#figures b")).to_have_text(["–"] * 5)
    expect(page.locator("#grid-reading")).to_contain_text("32 GPUs on 4 hosts, no GPU wait data, 32 without data")
    page.locator("#grid-field").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#grid-reading")).to_have_text("host-0/gpu-1: no data · embedder no data, train-llm no data")
    page.get_by_text("GPUs as a table").click()
    expect(page.locator("#grid-table tbody tr").first).to_contain_text("no datano data")
    expect(page.locator("#services tbody .state")).to_have_text(["? No data"] * 10)
    expect(page.locator("#evidence-message")).to_contain_text("Incidents are not detected without fresh data.")
    page.get_by_role("link", name="Cascade", exact=True).click()
    expect(page.locator("#map .node.unknown .value")).to_have_text(["No data"] * 12)
    page.locator("#map summary").click()
    expect(page.locator("#map tbody tr").first).to_contain_text(re.compile("no data", re.IGNORECASE))


def test_rows_with_data_stand_beside_rows_without(visit: Open, site: Site) -> None:
    """One service and one host are silent; the others are shown as they are."""
    site.hub.snapshot = SCENES["half-blind"]()
    page = visit().page
    ready(page)
    expect(page.locator("#services tr[data-health='unknown']")).to_have_count(1)
    expect(page.locator("#services tr[data-health='unknown']")).to_contain_text("auth? No data")
    expect(page.locator("#grid-reading")).to_contain_text("0 with at least 10% GPU wait, 8 without data")
    page.get_by_role("link", name="Cascade", exact=True).click()
    expect(page.locator("#map .node.unknown")).to_have_count(1)


def test_a_hostile_name_is_text_everywhere(visit: Open, site: Site) -> None:
    """It is shown as it is written, and nothing of it becomes an element."""
    site.hub.snapshot = SCENES["hostile"]()
    page = visit().page
    ready(page)
    expect(page.get_by_role("alert")).to_contain_text(HOSTILE)
    assert page.locator("main img").count() == 0
    assert page.locator("main script").count() == 0


def test_a_cell_of_the_matrix_leads_to_the_pair(visit: Open, site: Site) -> None:
    """Its name says how long and where, and leads to it. Pairs that are in no incident do not shout beside it."""
    world = contended()
    other = [
        (pair.affected.name, pair.noisy_neighbor.name) == ("reranker", "batch-eval") for pair in world.gpu_wait_pairs
    ]
    waits = world.gpu_wait_by.copy()
    waits[other] = 0.6
    site.hub.snapshot = replace(SCENES["contended"](), seq=9, world=replace(world, gpu_wait_by=waits))
    page = visit().page
    expect(page.locator("#matrix td.critical")).to_have_count(1)
    expect(page.locator("#matrix td.wait:not(.critical)").first).to_contain_text("60%")
    expect(page.locator("#matrix .note")).to_contain_text("GPU wait: share of time (upper bound)")
    name = "embedder waits on train-llm up to 46% of the time, 2 GPUs, critical incident"
    page.get_by_role("link", name=name).click()
    expect(page).to_have_url(re.compile(r"/contention\?victim=embedder&aggressor=train-llm$"))
    expect(page.locator("#pair-gpus")).to_be_visible()


def test_the_gpus_can_be_read_with_the_keyboard(visit: Open) -> None:
    """Arrow keys move through the canvas and the line below says what is there; the table has the same."""
    page = visit().page
    ready(page)
    page.locator("#grid-field").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#grid-reading")).to_contain_text("host-0/gpu-1: 99% busy, GPU wait 2")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#grid-reading")).to_contain_text("host-2/gpu-1:")  # two hosts stand side by side
    page.get_by_text("GPUs as a table").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#grid-table tbody tr")).to_have_count(32)


def test_the_gpus_are_drawn_by_the_chart_library_once_it_can_be_loaded(visit: Open, site: Site) -> None:
    """Until then by themselves; one failure is not for good."""
    page = visit("/status", quiet=False).page  # the browser itself reports the failure
    page.route("**/plotly.min.js", lambda route: route.abort())
    with page.expect_event("requestfailed", lambda request: request.resource_type == "script"):
        page.get_by_role("link", name="Now", exact=True).click()
        page.locator("#grid-field").scroll_into_view_if_needed()
    expect(page.locator("#grid-plot > canvas")).to_be_visible()
    page.unroute("**/plotly.min.js")
    site.hub.snapshot = replace(SCENES["contended"](), seq=9)
    expect(page.locator("#grid-plot .main-svg").first).to_be_attached(timeout=20_000)
    expect(page.locator("#grid-plot > canvas")).to_have_count(0)


def test_everything_is_reached_by_tab(visit: Open) -> None:
    """Skip link first, then navigation, theme, lanes, services, matrix, GPUs, evidence."""
    page = visit().page
    ready(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    seen = set()
    place = "(e => e.closest('.panel, button')?.id || e.closest('nav')?.tagName)(document.activeElement)"
    for _ in range(80):
        page.keyboard.press("Tab")
        seen.add(page.evaluate(place))
    assert {
        "NAV",
        "theme-toggle",
        "grid-panel",
        "timeline-panel",
        "matrix-panel",
        "services-panel",
        "evidence-panel",
    } <= seen


def test_the_theme_is_chosen_once(visit: Open) -> None:
    """The toggle wins over the system's wish, also after a reload."""
    page = visit("/", "light").page
    page.get_by_role("button", name="Switch to the dark theme").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.get_by_role("button", name="Switch to the light theme")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(11, 14, 19)"


def test_plotly_is_loaded_only_where_a_figure_is(visit: Open) -> None:
    """Megabytes that the first page does not need; all that it transfers is the goal of `make bench`."""
    page = visit().page
    ready(page)
    assert 50 < page.evaluate(TRANSFERRED_KB) <= MAX_FIRST_LOAD_KB
    loaded = "performance.getEntriesByType('resource').filter(r => r.name.includes('plotly')).length"
    assert page.evaluate(loaded) == 0
    page.get_by_role("link", name="Traces", exact=True).click()
    expect(page.locator("#heat .main-svg").first).to_be_visible(timeout=20_000)  # megabytes, where all is busy
    assert page.evaluate(loaded) > 0
