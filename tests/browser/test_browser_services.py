"""Services, one service, Status and the GPU lanes of a trace in a real browser."""

from __future__ import annotations

from dataclasses import replace

import pytest
from playwright.sync_api import Route, expect
from tests.browser.site import Open, Site, assert_accessible_and_fits, at_each_width, ready
from tests.web.occupancy import CONTENDED, HOST, Metrics, Traces, request_spans
from tests.web.pages.test_web_service import expecting, serving
from tests.web.worlds import (
    HOSTILE,
    NOW,
    SCENES,
    contended,
    contention_incident,
    healthy_world,
    request,
    snapshot,
    span,
)

from foreshock_dashboard.model.span import Span

TRACE = f"/traces?trace={1:032x}"
NAVIGATE = """(path) => {
  history.pushState({}, "", path);
  for (const name of ["_dashprivate_pushstate", "foreshock:url"]) dispatchEvent(new CustomEvent(name));
}"""


def _contended() -> tuple[Span, ...]:
    """The request on a GPU that train-llm held, with six identical queries under one of its spans."""
    queries = [span("query", "postgres", 100 + 2 * i, 11, 0.71 + 0.005 * i, 0.004) for i in range(6)]
    return (*request_spans(host__id=HOST, process__pid=7), *CONTENDED, *queries)


def test_services_and_status_are_accessible_and_fit(visit: Open, site: Site) -> None:
    """Light and dark, wide and on a phone, with every panel filled."""
    state = expecting()
    assert state.world
    site.hub.snapshot = replace(state, world=serving(state.world))
    site.hub.traces = Traces(spans=_contended())
    site.hub.metrics = Metrics()
    for path in ("/services", "/services/vllm-8b", "/status", f"{TRACE}&span={7:016x}"):
        page = visit(path).page
        ready(page)
        if path.startswith("/traces"):
            expect(page.locator(".lane")).to_have_count(1)
        for _ in at_each_width(page):
            assert_accessible_and_fits(page)


def test_the_table_links_to_a_service_and_from_there_to_its_neighbor(visit: Open, site: Site) -> None:
    """Sorted by breach probability, then as requested; the page of a service leads with its state; Back returns."""
    site.hub.snapshot = expecting()
    page = visit("/services").page
    ready(page)
    expect(page.locator("#services-summary")).to_contain_text("1 breached")
    expect(page.locator("#services-table tbody tr").first).to_contain_text("embedder")
    page.get_by_role("button", name="Load").click()
    expect(page.locator("#services-table tbody tr").first).to_contain_text("vllm-8b")
    assert "sort=-load" in page.url
    page.locator("#services-table").get_by_role("link", name="embedder").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("embedder")
    expect(page.get_by_role("alert").first).to_contain_text("embedder breaches its SLO: p95 ")
    expect(page.locator("#service-figures")).to_contain_text("(SLO 200 ms)")
    expect(page.locator("#neighbors")).to_contain_text("46%")
    expect(page.locator("#service-queue-panel")).to_be_hidden()
    assert 'service_name="embedder"' in (page.locator("#service-gpu-panel [data-copy]").get_attribute("title") or "")
    pair = page.locator("#neighbors td a").first.get_attribute("href") or ""
    assert pair.startswith("/contention?")
    assert "victim=embedder&aggressor=train-llm" in pair
    page.locator("#service-durations-panel details summary").click()
    expect(page.get_by_role("region", name="Latency, table")).to_contain_text("p95")
    page.goto(page.url.replace("embedder", "gateway"))
    expect(page.locator("#callers")).to_contain_text("user external")
    page.go_back()
    page.locator("#callers").get_by_role("link", name="rag-api").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("rag-api")
    expect(page.locator("#dependencies")).to_contain_text("vllm-70b")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("embedder")
    expect(page.locator("#neighbors")).to_contain_text("train-llm")


def test_a_service_has_one_state_on_its_page_and_among_the_services(visit: Open) -> None:
    """Whatever the severity of an incident that it has a part in, which is named as that of the incident."""
    page = visit("/services").page
    shown = {"ok": "healthy", "idle": "learning", "suspect": "warning"}
    states = []
    for name, table in (("embedder", "#services-table"), ("train-llm", "#jobs-table")):
        link = page.locator(table).get_by_role("link", name=name)
        row = page.locator(f"{table} tr", has=page.get_by_role("link", name=name))
        state = row.locator(".state").first.get_attribute("class") or ""
        states.append(state.removeprefix("state "))
        link.click()
        expect(page.locator("#service-verdict")).to_have_attribute("data-state", shown.get(states[-1], states[-1]))
        expect(page.locator("#service-incidents-panel")).to_contain_text("Critical incident")
        page.go_back()
    assert states[0] != states[1]


def test_an_unknown_name_has_a_way_out(visit: Open, site: Site) -> None:
    """A message with similar names; a hostile name is text."""
    page = visit("/services/embeder", quiet=False).page
    expect(page.locator("#wrong")).to_contain_text("Unknown service 'embeder'. Did you mean embedder?")
    page.goto(page.url.replace("embeder", "embedder"))
    expect(page.get_by_role("heading", level=1)).to_have_text("embedder")
    expect(page.locator("#wrong")).to_be_hidden()
    page = visit("/services/%zz", quiet=False).page  # what no browser can decode
    expect(page.locator("#wrong")).to_contain_text("Unknown service '%zz'.")
    expect(page.get_by_role("heading", level=1)).to_have_text("%zz")
    site.hub.snapshot = replace(SCENES["hostile"](), seq=9)
    page = visit("/services").page
    expect(page.locator("#jobs-table")).to_contain_text(HOSTILE)
    page.locator("#jobs-table").get_by_role("link", name=HOSTILE).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    expect(page.locator("#neighbors")).to_contain_text("script>")
    assert page.locator("main img, main script").count() == 0


def test_a_forecast_reads_as_a_forecast(visit: Open, site: Site) -> None:
    """An early warning without affected services: nothing that reads as if it were under way, on any page."""
    begun = contention_incident(world := healthy_world(), severity="warning")
    site.hub.snapshot = snapshot(world, replace(begun, affected=(), cause="retry_storm"), seq=8)
    page = visit().page
    expect(page.locator("#evidence")).to_contain_text("Retry storm possible. Vulnerable since")
    page.locator("#nav-fleet").click()
    expect(page.locator("#counts")).to_contain_text("32 GPUs on 4 hosts")
    expect(page.locator("#incident-line")).to_be_hidden()
    page.locator("#nav-cascade").click()
    expect(page.locator("#chooser")).to_contain_text("No services are affected. Open incidents:")


def test_pages_that_show_something_else_name_the_open_incident(visit: Open, site: Site) -> None:
    """In a line above their title, which leads to Cascade."""
    world = contended()
    site.hub.snapshot = snapshot(world, contention_incident(world), seq=8)
    page = visit("/status").page
    line = page.locator("#incident-line")
    expect(line).to_contain_text("Critical incident embedder: GPU contention, first anomaly")
    for name in ("fleet", "cost", "traces"):
        page.locator(f"#nav-{name}").click()
        expect(line).to_be_visible()
    page.locator("#nav-cascade").click()
    expect(page.locator("#chooser")).to_contain_text("embedder")
    expect(line).to_be_hidden()
    page.locator("#nav-services").click()
    expect(page).to_have_title("⬢ 1 incident · Services · foreshock")
    line.get_by_role("link").click()
    expect(page.locator("#chooser")).to_contain_text("embedder")
    expect(line).to_be_hidden()


def test_the_line_of_an_incident_leaves_with_its_page(visit: Open, site: Site) -> None:
    """Before the first answer of Now, which names the incident itself, and where an address has no values."""
    world = contended()
    site.hub.snapshot = snapshot(world, contention_incident(world), seq=8)
    page = visit("/fleet", quiet=False).page
    line = page.locator("#incident-line")
    expect(line).to_be_visible()
    held: list[Route] = []
    page.route("**/api/pages/now*", lambda route: held.append(route))
    page.locator("#nav-now").click()
    expect(page.locator("#verdict-panel, #headline").first).to_be_attached()
    expect(line).to_be_hidden()
    page.unroute("**/api/pages/now*")
    for route in held:
        route.continue_()
    for address, message in (("/nowhere", "Page not found"), ("/services/embeder", "Unknown service 'embeder'")):
        page.locator("#nav-fleet").click()
        expect(line).to_be_visible()
        page.evaluate(NAVIGATE, address)
        expect(page.locator("#main")).to_contain_text(message)
        expect(line).to_be_hidden()


def test_status_says_whether_the_data_is_healthy_and_names_missing_signals(visit: Open, site: Site) -> None:
    """And follows the hub without reload."""
    page = visit("/status").page
    ready(page)
    expect(page.locator("#health")).to_have_text("No data loss: 32 GPUs and 12 services (10 with requests) reporting.")
    expect(page.locator("#problems")).to_contain_text("The data is simulated.")
    for text in ("Notifications are off: no alerts are sent.", "Sign-in is not required."):
        expect(page.locator("#problems .poor", has_text=text)).to_be_visible()
    expect(page.locator("#signals-table tr", has_text="Model servers")).to_contain_text("Scrape /metrics of vLLM")
    available = page.locator("#signals-available")
    expect(available.locator("summary")).to_have_text("5 of 10 signals available")
    expect(available.locator("tr", has_text="GPU wait")).to_be_hidden()
    expect(page.locator("#targets-table tbody tr")).to_have_count(4)
    expect(page.locator("#targets-table th", has_text="Scrape duration")).to_have_count(0)
    expect(page.locator("#status-figures")).to_contain_text("every 10 s")
    expect(page.locator("#status-figures")).to_contain_text("4/4")
    site.hub.snapshot = replace(SCENES["half-blind"](), seq=8)
    expect(page.locator("#health")).to_contain_text("Degraded: 1 of 4 targets down or stale: host-3:10877.")
    expect(page.locator("#targets-table tbody tr").first).to_contain_text("stale")
    site.hub.snapshot = snapshot(None, seq=9)
    expect(page.locator("#health")).to_have_text("Waiting for the first evaluation.")


def test_status_shows_unmatched_names_beside_other_problems(visit: Open, site: Site) -> None:
    """In the headline where there is nothing worse, with the most similar name below it, until the service has data."""
    site.hub.unmatched = ({"option": "slo", "service": "embeder", "nearest": "embedder"},)
    page = visit("/status", width=390).page
    ready(page)
    said = "--slo names 1 service without data: embeder (did you mean embedder?). Fix the spelling"
    expect(page.locator("#health")).to_have_text("Degraded: --slo names 1 service without data.")
    assert page.evaluate("(e => e.clientHeight / parseFloat(getComputedStyle(e).lineHeight))(health)") < 3
    expect(page.locator("#problems li", has_text=said)).to_have_count(1)
    site.hub.snapshot = replace(SCENES["half-blind"](), seq=8)
    expect(page.locator("#health")).to_contain_text("1 of 4 targets down or stale")
    expect(page.locator("#problems li", has_text=said)).to_have_count(1)
    site.hub.unmatched = ()
    site.hub.snapshot = replace(SCENES["half-blind"](), seq=9)
    expect(page.locator("#problems li", has_text=said)).to_have_count(0)


def test_a_trace_of_whose_gpus_nothing_is_known_says_what_is_missing(visit: Open, site: Site) -> None:
    """It leads to the page that explains how to get it, and the duration of a full bar covers none of it."""
    site.hub.snapshot, site.hub.traces, site.hub.time = SCENES["empty"](), Traces(spans=request()), NOW + 600
    page = visit(TRACE).page
    note = page.locator("#trace .note").first
    expect(note).to_contain_text("GPU wait unknown: no GPU metrics, no GPU occupancy spans.")
    assert note.get_by_role("link", name="Status").get_attribute("href") == "/status"
    row = page.locator(".wf-row").first
    for _ in at_each_width(page):
        bar, length = row.locator(".wf-bar").bounding_box(), row.locator(".wf-length").bounding_box()
        assert bar
        assert length
        assert bar["x"] + bar["width"] <= length["x"] or length["y"] + length["height"] <= bar["y"]
        assert_accessible_and_fits(page)


def test_a_trace_says_what_took_its_time_and_shows_the_services_on_its_gpu(visit: Open, site: Site) -> None:
    """The sentence, the lane, the critical path, the fold of six queries; all with the keyboard."""
    site.hub.traces = Traces(spans=_contended())
    site.hub.metrics = Metrics()
    page = visit(f"{TRACE}&span={7:016x}").page
    expect(page.locator(".trace-sentence")).to_contain_text("Mostly self time in embedder: 630 ms of 1.00 s")
    expect(page.locator(".trace-sentence")).to_contain_text("on host-0/gpu-0 while train-llm was running.")
    lane = page.get_by_role("group", name="host-0/gpu-0: GPU wait up to")
    expect(lane.locator(".lane-row")).to_have_count(2)
    expect(lane.locator(".lane-bar.inferred")).to_have_count(0)
    assert (lane.get_by_role("link").first.get_attribute("href") or "").startswith("/fleet?gpu=host-0")
    expect(page.get_by_role("img", name="Self time on the critical path: embedder 630 ms")).to_be_visible()
    tree = page.get_by_role("tree")
    expect(tree.get_by_role("treeitem", selected=True)).to_have_attribute("aria-label", "embedder embed, 430 ms, "
        "at 50 ms, error, GPU wait 257 ms, 430 ms on the critical path")  # fmt: skip
    row = tree.locator(".wf-row", has=page.locator(".wf-wait")).first
    wait, bar = row.locator(".wf-wait").first.bounding_box(), row.locator(".wf-bar").bounding_box()
    assert wait
    assert bar
    assert wait["width"] / bar["width"] == pytest.approx(257 / 430, abs=0.02), "as long as the wait"
    assert row.locator(".wf-length").inner_text() == "⬢ error 430 ms, GPU wait 257 ms"
    assert row.locator(".wf-length").evaluate("length => length.scrollWidth <= length.clientWidth")
    expect(tree.locator(".wf-critical").first).to_be_attached()
    expect(page.locator("#span-detail")).to_contain_text("used by train-llm")
    expect(page.locator("#span-detail")).to_contain_text("Scope and flags")
    folded = tree.get_by_role("treeitem", name="postgres query ×6")
    expect(folded).to_have_attribute("aria-expanded", "false")
    expect(tree.get_by_role("treeitem")).to_have_count(8)
    tree.focus()
    for key in ("End", "ArrowUp", "ArrowRight"):
        page.keyboard.press(key)
    expect(tree.get_by_role("treeitem")).to_have_count(14)
    page.locator("#lanes-twin summary").click()
    expect(page.get_by_role("region", name="GPUs of the trace, table")).to_contain_text("train-llm")


def test_on_a_phone_the_name_of_a_span_stands_whole_above_its_bar(visit: Open, site: Site) -> None:
    """Beside it there is no room for what was asked; a window that is made wide has both on one line again."""
    site.hub.traces, site.hub.metrics = Traces(spans=_contended()), Metrics()
    page = visit(TRACE, width=390).page
    rows = page.get_by_role("tree").locator(".wf-row")
    expect(rows).to_have_count(8)
    assert page.evaluate("[...document.querySelectorAll('.wf-name')].every((n) => n.scrollWidth <= n.clientWidth)")
    for row, below in zip(rows.all()[:-1], rows.all()[1:], strict=True):
        name, bar, next_name = (
            part.bounding_box()
            for part in (row.locator(".wf-name"), row.locator(".wf-track"), below.locator(".wf-name"))
        )
        assert name and bar and next_name  # noqa: PT018
        assert name["y"] + name["height"] <= bar["y"] + 1
        assert bar["y"] + bar["height"] <= next_name["y"] + 1
    page.set_viewport_size({"width": 1280, "height": 900})
    page.wait_for_function(
        "() => { const [a, b] = document.querySelectorAll('.wf-row');"
        " return b.getBoundingClientRect().top - a.getBoundingClientRect().top === 28; }"
    )


def test_the_span_at_the_top_stays_there_when_the_window_becomes_wide(visit: Open, site: Site) -> None:
    """And when it becomes narrow again: rows change their height then, and with it where each of them is."""
    site.hub.traces = Traces(spans=tuple(span("work", f"s{i}", i, 0, i * 0.01, 0.004) for i in range(1, 81)))
    page = visit(TRACE, width=390).page
    expect(page.locator(".wf-row").first).to_be_visible()
    top = (
        "() => { const wf = document.getElementById('wf'); const { top } = wf.getBoundingClientRect();"
        " return [...wf.querySelectorAll('.wf-row')].find((row) => row.getBoundingClientRect().bottom > top + 2).id; }"
    )
    page.evaluate("document.getElementById('wf').scrollTop = 30 * 48")
    page.wait_for_function(f"() => ({top})() === 'wf-30'")
    for width, height in ((1280, 28), (390, 48)):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(f"() => document.querySelector('.wf-row').clientHeight === {height}")
        page.wait_for_function(f"() => ({top})() === 'wf-30'")


def test_a_drag_on_the_picture_selects_its_times_and_durations(visit: Open) -> None:
    """Both live in the address, and a mark opens its trace."""
    page = visit("/traces").page
    ready(page)
    plot = page.locator("#heat .nsewdrag").first
    expect(page.locator("#heat .points path").first).to_be_visible(timeout=15_000)
    box = plot.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.95, box["y"] + box["height"] * 0.7, steps=6)
    page.mouse.up()
    expect(page.locator("#list-hint")).to_contain_text("duration ≥")
    for name in ("from=", "min_duration=", "max_duration="):
        assert name in page.url
    expect(page.get_by_label("Min duration").first).not_to_have_value("")


def test_leaving_a_service_requests_none_without_a_name(visit: Open, site: Site) -> None:
    """The address changes before the page does."""
    site.hub.snapshot = expecting()
    page = visit("/services/vllm-8b").page
    ready(page)
    refused: list[str] = []
    page.on("response", lambda answer: refused.append(answer.url) if answer.status >= 400 else None)
    for leaves in ("#nav-services", "#nav-traces", "#nav-now"):
        page.locator(leaves).click()
        ready(page)
        page.go_back()
        expect(page.get_by_role("heading", level=1)).to_have_text("vllm-8b")
        ready(page)
    assert refused == []
