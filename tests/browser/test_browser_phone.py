"""What a phone shows: names that can be read, and tables that end where the screen does."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from playwright.sync_api import expect
from tests.browser.site import WIDTHS, Open, Site, at_each_width
from tests.web.forecasts import FORECAST
from tests.web.worlds import NOW, contended, contention_incident, service, snapshot

from foreshock_dashboard.model.action import Action, Effect
from foreshock_dashboard.model.forecast import Forecast, ServiceSlo
from foreshock_dashboard.model.incident import AtRisk, Evidence, Severity
from foreshock_dashboard.model.service import Service

LONG = "serving/gateway-of-internal-users -> serving/assistant-feature-for-developers"
BROKEN = """cells => cells.flatMap((cell) => {
  const walk = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walk.nextNode()) for (const word of walk.currentNode.data.matchAll(/[a-z]+/g)) {
    const range = document.createRange();
    range.setStart(walk.currentNode, word.index);
    range.setEnd(walk.currentNode, word.index + word[0].length);
    if (new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size > 1) found.push(word[0]);
  }
  return found;
})"""
"""Words of some elements that are broken over two lines."""


def test_names_in_the_evidence_are_broken_between_words(visit: Open, site: Site) -> None:
    """A call of two long names takes several lines, and each can be read."""
    world = contended()
    result = Evidence("retries per further attempt", 284.0, 11.2, "s", NOW - 190, LONG)
    item = replace(contention_incident(world), evidence=(result, result._replace(entity="serving/vector-store")))
    site.hub.snapshot = snapshot(world, item, seq=8)
    page = visit(width=390).page
    names = page.locator(".evidence tbody th")
    expect(names).to_have_count(2)
    expect(names.first).to_have_text(LONG.replace("->", "→"))
    assert page.locator(".evidence tbody :is(th, td:nth-child(2))").evaluate_all(BROKEN) == []
    assert names.first.evaluate("cell => cell.clientHeight / parseFloat(getComputedStyle(cell).lineHeight)") > 2


OVERPRINTED = """table => [...table.rows].flatMap((row) => {
  const boxes = [...row.cells].map((cell) => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    return range.getBoundingClientRect();
  }).filter((box) => box.width);
  const right = table.parentElement.getBoundingClientRect().right;
  const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  return boxes.some((box, i) => box.right > right + 1 || boxes.slice(i + 1).some((other) => meet(box, other)))
    ? [row.textContent] : [];
})"""
"""Rows of a table with a text over another one, or beyond the right edge."""


def test_no_text_of_a_table_is_over_another_one(visit: Open, site: Site) -> None:
    """Rates in the evidence, and why a p95 above the SLO is no breach, beside the name of the service."""
    world = contended()
    seldom = service("vector-store")
    row = world.services.index(seldom)
    rate, p95 = world.red.rate.copy(), world.red.p95.copy()
    rate[row], p95[row, -8:-5] = 0.2, 9.0
    world = replace(world, red=replace(world.red, rate=rate, p95=p95))
    found = Evidence("request rate", 14.625, 5.61249, "req/s", NOW - 190, "embedder")
    evidence = (found, found._replace(name="p95 time to first token"))
    item = replace(contention_incident(world), evidence=evidence, at_risk=(AtRisk(seldom, 60.0, 120.0, 400.0),))
    slos = tuple(ServiceSlo(name, 1.0, 0.01, learned=False) for name in world.services)
    site.hub.snapshot = replace(snapshot(world, item, seq=11), forecast=Forecast(slos=slos))
    page = visit(width=390).page
    expect(page.locator(".services")).to_contain_text("with too few requests to count (up to 12 per minute, 30 needed)")
    for table in (".evidence", ".services"):
        assert page.locator(table).evaluate(OVERPRINTED) == []


def test_gpus_on_contention_fit(visit: Open) -> None:
    """A name in one line, how long is waited, and how its time is spent: no scrolling sideways."""
    page = visit("/contention", width=390).page
    table = page.locator("#ranked .scroll")
    expect(table.locator("tbody tr").first).to_be_visible()
    assert table.evaluate("box => box.scrollWidth <= box.clientWidth")
    expect(table.locator("thead")).to_contain_text("Contended")
    name = table.locator("tbody th a").first
    assert name.evaluate("link => new Set([...link.getClientRects()].map((box) => box.top)).size") == 1


def test_what_a_pair_shares_fits(visit: Open) -> None:
    """The noisy neighbor is in sight, and not cut off at the edge."""
    page = visit("/contention?victim=embedder&aggressor=train-llm", width=390).page
    table = page.locator("#pair-gpus .scroll")
    expect(table.locator("tbody tr").first).to_be_visible()
    assert table.evaluate("box => box.scrollWidth <= box.clientWidth")


def test_all_that_is_known_of_replicas_is_in_sight(visit: Open, site: Site) -> None:
    """What is ready and what the pool has room for is below the name, beside what to add in each case."""
    site.hub.capacity = FORECAST
    page = visit("/capacity", width=390).page
    table = page.locator("#replicas .scroll")
    row = table.locator("tbody tr").first
    expect(row.get_by_text("3 ready, pool has room for 1")).to_be_visible()
    for more in ("+2", "+3", "+5"):
        expect(row.get_by_text(more, exact=True)).to_be_visible()
    assert table.evaluate("box => box.scrollWidth <= box.clientWidth")
    assert page.locator("#replicas-table").evaluate(OVERPRINTED) == []


BEFORE_COMMAND = """action => {
  const [note, command] = [action.querySelector(".effects"), action.querySelector("code")];
  return note.checkVisibility() && note.getBoundingClientRect().bottom <= command.getBoundingClientRect().top;
}"""
"""Whether what else an action changes is in sight above its command."""


def test_what_else_a_command_changes_is_read_before_it(visit: Open, site: Site) -> None:
    """On each width: that hosts take no new pods, and what rolls it back."""
    world = contended()
    move = Action("move_off_gpus", Service("ml", "train-llm"), gpus=world.gpus[:2], effective_seconds=300.0)
    site.hub.snapshot = snapshot(world, replace(contention_incident(world), actions=(move,)), seq=9)
    page = visit().page
    for _ in at_each_width(page):
        action = page.locator("#verdict .action li").first
        expect(action.locator(".fact", has_text="Side effect").locator("dd")).to_have_text(
            "Restarts the pods of ml/train-llm. No new pods start on host-0 until rollback."
        )
        assert action.evaluate(BEFORE_COMMAND)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_rollback_is_copied_beside_its_own_command(visit: Open, site: Site, width: int) -> None:
    """A press on the wrong button would end what relieves. On a phone, command and button unfold together.

    On each width, for which gateway the command is, and what it replaces, stands above it.
    """
    world = contended()
    limit = Action("limit_rate", Service("ml", "train-llm"), amount=2.0, current=4.0)
    site.hub.snapshot = snapshot(world, replace(contention_incident(world), actions=(limit,)), seq=10)
    action = visit(width=width).page.locator("#verdict .action li").first
    commands = action.locator(".command")
    expect(commands).to_have_count(2)
    expect(commands.first.get_by_role("button")).to_have_text("Copy")
    note = action.locator(".fact", has_text="Envoy Gateway only")
    expect(note).to_contain_text("Replaces an existing limit")
    expect(note).to_contain_text("First set ENVOY_REPLICAS to the number of Envoy replicas")
    assert note.evaluate("note => note.getBoundingClientRect().bottom") <= commands.first.locator("code").evaluate(
        "code => code.getBoundingClientRect().top"
    )
    if width == 390:
        box = commands.first.get_by_role("button").bounding_box()
        assert box is not None
        assert box["height"] >= 44  # what a finger needs
        expect(commands.last).to_be_hidden()
        action.locator("summary", has_text="Rollback").click()
    expect(commands.last.locator("code")).to_contain_text("saved=$(sed 's/^$/null/' rateLimit.")
    expect(commands.last.get_by_role("button", name="Copy rollback")).to_be_visible()


@pytest.mark.parametrize("width", [1280, 390])
def test_a_command_that_saves_a_policy_of_long_names_fits(visit: Open, site: Site, width: int) -> None:
    """Five lines on a wide screen; on a phone, as many as it takes."""
    world = contended()
    where = Service("machine-learning", "train-llm").in_cluster("arn:aws:eks:us-east-1:123456789012:cluster/production")
    limit = Action("limit_rate", where, amount=2.0, current=4.0)
    site.hub.snapshot = snapshot(world, replace(contention_incident(world), actions=(limit,)), seq=12)
    page = visit(width=width).page
    action = page.locator("#verdict .action li").first
    code = action.locator(".command code").first
    expect(code).to_contain_text("test -s rateLimit.")
    if width == 1280:
        starts = [line.split()[0] for line in code.inner_text().splitlines()]
        assert starts == ["(:", "test", "kubectl", "kubectl", "--patch"]
    assert code.evaluate("code => code.scrollWidth <= code.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_an_incident_that_is_open_at_the_same_time_is_a_line_of_the_banner(visit: Open, site: Site) -> None:
    """Severity, service, metric and SLO with the value now, and since when, in sight on each width; it leads there."""
    world = contended()
    first = contention_incident(world)
    slow, row = service("rag-api"), world.services.index(service("rag-api"))
    p95 = world.red.p95.copy()
    p95[row, -8:] = 0.9
    world = replace(world, red=replace(world.red, p95=p95))
    second = replace(
        first, id="second", service=slow, severity="warning", paged=None, since=NOW - 100, affected=(slow,)
    )
    slos = tuple(ServiceSlo(name, 1.0, 0.01, learned=False) for name in world.services)
    site.hub.snapshot = replace(snapshot(world, first, second, seq=9), forecast=Forecast(slos=slos))
    page = visit().page
    for width, _ in zip(WIDTHS, at_each_width(page), strict=True):
        line = page.locator(".further-incident")
        expect(line).to_have_text(
            re.compile(r"Early warning · not paged rag-api .*: p95 900 ms \(SLO 1.00 s\), first anomaly")
        )
        box = line.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 400, width
    line.get_by_role("link").click()
    expect(page.locator("#incident-second")).to_be_in_viewport()


@pytest.mark.parametrize("severity", ["warning", "critical"])
def test_what_to_do_and_who_is_next_are_in_sight(visit: Open, site: Site, severity: Severity) -> None:
    """Severity, service, times, impact, cause, action, and the service next at risk: within 680 px, in this order.

    Further actions unfold; that they come too late is in sight.
    """
    world = contended({"train-llm": "batch-embed", "embedder": "llm-chat"})
    first = contention_incident(world)
    pause = Action("pause", Service("ml", "batch-embed"), effective_seconds=60.0)
    shed = Action("shed_load", Service("serving", "llm-chat"), amount=0.28, effective_seconds=60.0, too_late=True)
    effect = Effect("p95", Service("serving", "llm-chat"), "s", 116.0, 24.8, 18.0, "slo")
    names = ("llm-chat", "gateway", "assistant-feature", "search-feature")
    item = replace(
        first,
        severity=severity,
        paged=NOW - 60 if severity == "critical" else None,
        opened=NOW - 120,
        actions=(pause._replace(effect=effect), shed._replace(effect=effect)),
        at_risk=tuple(AtRisk(Service("serving", name), 60.0, 120.0, 400.0, 40.0, 600.0) for name in names),
    )
    site.hub.snapshot = snapshot(world, item, seq=9)
    page = visit(width=390).page
    fact = page.locator("#verdict .fact", has_text="Next to breach")
    expect(fact).to_contain_text("serving/search-feature")
    expect(fact).to_contain_text("80% interval: 40 s to 10 min")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(page.locator("#verdict .action li")).to_have_count(2)
    expect(page.locator("#verdict .action li").nth(1)).to_contain_text("takes effect within 1 min, likely too late")
    box = fact.locator("li span").first.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= 680
    cause, risk = ".fact:has-text('Suspected cause')", ".fact:has-text('Next to breach')"
    parts = ["#headline", ".times", ".impact", cause, ".action", risk]
    tops = [
        page.locator(f"#verdict {part}").first.evaluate("part => part.getBoundingClientRect().top") for part in parts
    ]
    assert tops == sorted(tops)
    assert page.locator("#verdict .action li").first.evaluate(BEFORE_COMMAND)
    further = page.locator("#verdict .action li").nth(1)
    expect(further.locator("code").first).to_be_hidden()
    further.locator("summary").first.click()
    expect(further.locator("code").first).to_be_visible()


def test_a_long_command_scrolls_on_a_phone_and_leaves_who_is_next_in_sight(visit: Open, site: Site) -> None:
    """A rate limit has the longest one, with a note before it. A desktop of 1440 x 900 shows all of both."""
    world = contended({"train-llm": "batch-embed"})
    limit = Action("limit_rate", Service("product", "assistant-feature"), amount=7.8, current=11.3)
    effect = Effect("load", Service("serving", "llm-chat"), "ratio", 0.81, 0.65, 0.76, "safe_limit")
    risk = AtRisk(Service("serving", "gateway"), 60.0, 120.0, 400.0, 40.0, 600.0)
    first = replace(
        contention_incident(world),
        actions=(limit._replace(effect=effect, effective_seconds=60.0),),
        at_risk=(risk,),
    )
    site.hub.snapshot = snapshot(world, first, seq=9)
    page = visit(width=390).page
    code = page.locator("#verdict .command code").first
    expect(code).to_contain_text("ENVOY_REPLICAS")
    assert code.evaluate("code => code.scrollHeight > code.clientHeight && code.scrollWidth <= code.clientWidth")
    code.focus()
    page.keyboard.press("End")
    page.wait_for_function("code => code.scrollTop > 0", arg=code.element_handle())
    box = page.locator("#verdict .at-risk li span").first.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= 680
    wide = visit(width=1440).page  # 900 px high
    expect(wide.locator("#verdict .command code").first).to_contain_text("ENVOY_REPLICAS")
    for last in (wide.locator("#verdict .command code").last, wide.locator("#verdict .at-risk li span").last):
        expect(last).to_be_in_viewport(ratio=1)


def test_the_reason_of_a_service_at_risk_wraps_on_a_phone(visit: Open, site: Site) -> None:
    """Beside its interval it may be longer than the screen is wide."""
    callee = "chat-completions-with-retrieval-and-tools"
    world = contended({"rag-api": callee})
    first = contention_incident(world)
    risk = AtRisk(service("gateway"), 60.0, 120.0, 400.0, 40.0, 600.0)
    affected = (first.service, next(name for name in world.services if name.name == callee))
    site.hub.snapshot = snapshot(world, replace(first, affected=affected, at_risk=(risk,)), seq=9)
    page = visit(width=390).page
    reason = page.locator("#verdict .at-risk .reference")
    expect(reason).to_contain_text(f"80% interval: 40 s to 10 min; calls {callee}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
