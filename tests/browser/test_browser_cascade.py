"""Now and Cascade for an on-call engineer: what is at risk next, what to do, how it spread, and back in time."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from playwright.sync_api import Page, Route, expect
from tests.browser.site import WIDTHS, Open, Site, assert_accessible_and_fits, violations
from tests.conftest import soak
from tests.web.worlds import HOSTILE, NOW, SCENES, contended, contention_incident, service, snapshot

from foreshock_dashboard.model.incident import AtRisk
from foreshock_dashboard.model.snapshot import Snapshot

RISKS = (AtRisk(service("embedder"), 0, 0, 0, 0, 0), AtRisk(service("gateway"), 100.0, 240.0, 500.0, 60.0, 540.0))


def spreading(seq: int = 7) -> Snapshot:
    """train-llm slows embedder, which breaches its SLO; gateway is next; another incident is resolved."""
    world = contended()
    over = replace(
        contention_incident(world, "reranker", "batch-eval", state="resolved"), resolved=NOW - 400, since=NOW - 800
    )
    return snapshot(world, replace(contention_incident(world), at_risk=RISKS), over, seq=seq)


@pytest.fixture
def spread(site: Site) -> Site:
    """The site, while it spreads."""
    site.hub.snapshot = spreading()
    return site


def _ready(page: Page) -> None:
    expect(page.locator(".panel").first).to_be_visible()
    expect(page.locator('.panel[data-state="loading"]:visible')).to_have_count(0)


@pytest.mark.usefixtures("spread")
def test_now_says_what_is_wrong_its_cause_the_action_and_who_is_next(visit: Open) -> None:
    """And each clause leads to its evidence."""
    page = visit("/?from=now-1h").page
    verdict = page.locator("#verdict")
    for words in (
        "Critical incident · firing",
        "embedder is degraded",
        "SLO breach since 18:57:00 (3 min). About 2 of 1,100 requests (0.2% since then) to rag-api failed.",
        "First anomaly 18:56:50 (3 min 13 s ago) → paged 18:57:30",
        "GPU contention: train-llm on host-0/gpu-0 and host-0/gpu-1 (of embedder's 4 GPUs) high confidence",
        "Move train-llm off host-0/gpu-0 and host-0/gpu-1",
    ):
        expect(verdict).to_contain_text(words)
    interval = "80% interval: 60 s to 9 min"
    breach = f"SLO breach forecast: median < 5 min, {interval}"
    expect(verdict.locator(".fact", has_text="Next to breach")).to_contain_text(f"gateway median < 5 min {interval}")
    expect(verdict.locator(".also").first).to_contain_text("rag-api")
    links = {link.inner_text(): link.get_attribute("href") or "" for link in verdict.get_by_role("link").all()}
    assert links["train-llm"] == "/services/train-llm?from=now-1h"
    assert links["host-0/gpu-0 and host-0/gpu-1"] == "/fleet?from=now-1h&gpu=host-0%2Fgpu-0"
    assert links["Evidence (4 signals)"] == "#evidence-panel"
    expect(page.locator("#timeline .lane")).to_have_count(4)
    for words in ("Suspected cause", "Order of first anomaly", "Paged", "At risk", "bar = 80% interval"):
        expect(page.locator("#timeline .legend")).to_contain_text(words)
    expect(page.locator("#timeline .lane title").last).to_have_text(f"gateway: At risk, {breach}")
    names = page.locator("#figures a").evaluate_all("all => all.map((one) => one.getAttribute('aria-label'))")
    assert (
        names[-1] == "Highest GPU wait (serving): 46%, embedder waiting on train-llm (mean of 2 GPUs), No baseline yet"
    )
    expect(page.locator("#evidence tbody tr").first).to_contain_text("embedder")
    page.locator("#timeline summary").click()
    expect(page.locator("#timeline tbody tr")).to_have_count(4)
    expect(page.locator("#timeline tbody tr").last).to_contain_text(breach)


@pytest.mark.usefixtures("spread")
@pytest.mark.parametrize("width", WIDTHS)
def test_a_cascade_is_accessible_and_fits(visit: Open, width: int) -> None:
    """On both pages while it spreads, with a forecast; on a phone panels are folded, and the map is tables."""
    page = visit("/cascade", width=width).page
    _ready(page)
    expect(page).to_have_title("⬢ 1 incident · Cascade · foreshock")
    if width <= 600:
        expect(page.locator("#signals")).to_be_hidden()
        for fold in page.locator("[data-fold]").all():
            fold.click()
        expect(page.locator("[data-fold][aria-expanded=true]:visible")).to_have_count(6)
    expect(page.locator("#signals table")).to_be_visible()
    expect(page.locator("#map svg.map")).to_have_count(1 if width > 600 else 0)
    assert_accessible_and_fits(page)
    page.goto(page.url.replace("/cascade", "/"))
    expect(page.locator("#verdict-detail")).to_be_visible()
    _ready(page)
    assert_accessible_and_fits(page)


@pytest.mark.usefixtures("spread")
def test_cascade_shows_the_propagation_and_the_forecast(visit: Open) -> None:
    """Map with order of first anomaly and suspect, signals with thresholds and reasons, forecast breaches, lanes."""
    page = visit("/cascade").page
    _ready(page)
    expect(page.get_by_label("embedder: 1 in order of first anomaly, SLO breach")).to_be_visible()
    expect(page.locator("#map").get_by_label("train-llm: Suspected cause")).to_be_visible()
    expect(page.locator("#map .step.gpu title")).to_have_text("train-llm → embedder: GPU contention")
    expect(page.locator("#map .step.call title")).to_have_text("embedder → rag-api: degraded dependency")
    expect(page.locator("#map .step.forecast title").first).to_contain_text("→ gateway: SLO breach")
    expect(page.locator("#breaches tbody tr")).to_have_text(
        [re.compile("embedder.*in breach"), re.compile("gateway.*median < 5 min.*60 s to 9 min")]
    )
    wait = page.locator("#signals tbody tr", has_text="GPU wait")
    expect(wait.locator("[title]").first).to_have_attribute(
        "title", "Leading indicator: the service waits while another one runs on the same GPU"
    )
    expect(page.locator("#timeline .lane")).to_have_count(3)
    expect(page.locator("ol.propagation li")).to_have_count(3)
    page.locator("#map summary").click()
    expect(page.locator("#map tbody tr").first).to_be_visible()


@pytest.mark.usefixtures("spread")
def test_an_incident_is_chosen_and_its_postmortem_is_one_file(visit: Open) -> None:
    """One that is over is looked at before its end; the address holds all of it."""
    page = visit("/cascade").page
    _ready(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Incident report (draft)").click()
    assert download.value.suggested_filename == "foreshock-20251125T095730Z-embedder.zip"
    page.locator(".incidents a", has_text="reranker").click()
    expect(page).to_have_url(re.compile(r"incident=20251125T095730Z-reranker&from=\d+&to=\d+$"))
    page.go_back()
    expect(page.locator(".incidents a[aria-current]")).to_contain_text("embedder")


@pytest.mark.usefixtures("spread")
def test_the_slider_replays_map_and_lanes(visit: Open) -> None:
    """Before the first sign all is healthy; nothing of what came later is shown."""
    page = visit("/cascade").page
    _ready(page)
    expect(page.locator("#map .node.critical")).not_to_have_count(0)
    page.get_by_role("button", name="Play cascade").click()
    slider = page.get_by_role("slider", name="Show the state at this time")
    slider.fill(str(int(NOW - 400) // 10 * 10))
    expect(page.locator("#live")).to_contain_text("Past")
    expect(page.locator("#map .node.critical")).to_have_count(0)
    expect(page.locator("#timeline-message")).to_have_text("No anomalies in this time range.")
    expect(page.get_by_role("button", name="▶ Play", exact=True)).to_be_visible()
    page.get_by_role("button", name="Back to live").click()
    expect(page.locator("#map .node.critical")).not_to_have_count(0)


@pytest.mark.usefixtures("spread")
def test_the_last_request_is_shown(visit: Open) -> None:
    """Not what the slider was moved to before, and not what became of an earlier question."""
    page = visit("/cascade", quiet=False).page  # the browser itself reports the refusal
    _ready(page)
    page.keyboard.press("t")
    page.keyboard.press("r")
    slid = """async (time) => {
      const { runTimeAction } = await import("#web/shell/time_picker.js");
      const slider = document.getElementById("rewind-at");
      slider.value = time;
      slider.dispatchEvent(new Event("input", { bubbles: true }));
      runTimeAction("live");
      return new Promise((done) => setTimeout(done, 300)); // the slider's own wait was begun before, and is shorter
    }"""
    page.evaluate(slid, NOW - 400)
    assert "to=" not in page.url
    moved = """async (time) => {
      const { hrefWith, navigate } = await import("#web/assets/address.js");
      const { isBusy } = await import("#web/shell/feed.js");
      while (isBusy()) await new Promise((done) => setTimeout(done, 5));
      navigate(hrefWith({ to: "2025-99-01T00:00:00Z" }));
      navigate(hrefWith({ to: time }));
    }"""
    page.evaluate(moved, str(int(NOW - 400) * 1000))
    expect(page.locator("#map .node.critical")).to_have_count(0)
    expect(page.locator("#wrong")).to_be_hidden()


@pytest.mark.parametrize("scene", ["hostile", *soak("learning", "blind", "healthy", "empty", "error")])
def test_cascade_says_why_there_is_nothing_to_see(visit: Open, site: Site, scene: str) -> None:
    """Every scene has a state for every panel, and no name is more than text."""
    site.hub.snapshot = SCENES[scene]()
    page = visit("/cascade").page
    _ready(page)
    assert page.locator("main img, main script").count() == 0
    if scene == "hostile":
        expect(page.locator("ol.propagation")).to_contain_text(HOSTILE)
    elif scene == "error":
        expect(page.locator("#map-message")).to_contain_text("Cannot read the source: prometheus")
        expect(page.locator("#cascade-load")).to_contain_text("Cannot read the source: prometheus")
    else:
        expect(page.locator("#timeline-panel")).to_have_attribute("data-state", "empty")
    healthy = {
        "learning": "Building baseline: 12 of 30 min",
        "empty": "No services: the hub received no spans",
        "blind": "no fresh samples",
    }
    for panel in ("timeline", "breaches", "signals") if scene in healthy else ():
        expect(page.locator(f"#{panel}-message")).to_contain_text(healthy[scene])
    assert violations(page) == []


def test_a_chart_that_is_not_drawn_yet_says_so(visit: Open) -> None:
    """An empty panel would look as if there were nothing to see."""
    page = visit("/status").page
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route) if '"cascade-load' in (route.request.post_data or "") else route.continue_()

    page.route("**/_dash-update-component?*", hold)
    page.locator("#nav-cascade").click()
    chart = page.locator("#cascade-load-panel .chart")
    said = "chart => getComputedStyle(chart, '::before').content"
    expect(chart.locator(".main-svg").first).to_be_visible()
    assert chart.evaluate(said) == '"Loading…"'
    while held:
        held.pop().continue_()
    page.unroute("**/_dash-update-component?*")
    expect(chart.locator(".annotation")).to_contain_text("No model servers: add their metrics endpoints")
    assert chart.evaluate(said) == "none"


def test_what_was_seen_of_a_service_stays_in_the_picture_where_it_lasts_longer_than_the_range(visit: Open) -> None:
    """It stands below the name, left of all bars."""
    page = visit("/cascade?from=now-2m").page
    _ready(page)
    expect(page.locator("#timeline .lane-words").first).to_be_visible()
    beyond = (
        "() => { const edge = document.querySelector('#timeline .lanes').getBoundingClientRect().right;"
        " return [...document.querySelectorAll('#timeline .lane-words')]"
        ".filter((words) => words.getBoundingClientRect().right > edge).map((words) => words.textContent); }"
    )
    assert page.evaluate(beyond) == []
