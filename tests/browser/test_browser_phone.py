"""What a phone shows: names that can be read, and tables that end where the screen does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from playwright.sync_api import expect
from tests.browser.site import Open, Site
from tests.web.worlds import NOW, contended, contention_incident, snapshot

from foreshock_dashboard.model.action import Action, Effect
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


@pytest.mark.parametrize("severity", ["warning", "critical"])
def test_what_to_do_and_who_is_next_are_in_sight(visit: Open, site: Site, severity: Severity) -> None:
    """Severity, service, cause, actions with their commands, and the services next at risk, within 680 px."""
    world = contended({"train-llm": "batch-embed", "embedder": "llm-chat"})
    first = contention_incident(world)
    pause = Action("pause", Service("ml", "batch-embed"), effective_seconds=60.0)
    shed = Action("shed_load", Service("serving", "llm-chat"), amount=0.28, effective_seconds=60.0)
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
    fact = page.locator("#verdict .fact", has_text="At risk next")
    expect(fact).to_contain_text("serving/search-feature")
    expect(page.locator("#verdict .action li")).to_have_count(2)
    box = fact.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= 680
