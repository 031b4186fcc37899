"""The postmortem of an incident: summary, impact, timeline, root cause, actions, and evidence."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from tests.web.caller import Caller
from tests.web.worlds import HOSTILE, NOW, SCENES, FakeHub, bare, contended, contention_incident, service

from foreshock_dashboard.model.action import Action, Reason
from foreshock_dashboard.model.forecast import ServiceSlo
from foreshock_dashboard.model.incident import AtRisk, Incident, LaterCause, SuspectedCause
from foreshock_dashboard.model.journal import Entry
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.response.entries import acknowledge
from foreshock_dashboard.response.fold import fold
from foreshock_dashboard.web.charts.svg import Axis, SvgLine, SvgMark, draw
from foreshock_dashboard.web.documents.postmortem import report
from foreshock_dashboard.web.state.parameters import incident_named


def over() -> Incident:
    """One that has ended."""
    return replace(contention_incident(contended(), state="resolved"), since=NOW - 190)


def section(markdown: str, title: str) -> str:
    """The text under a heading."""
    return markdown.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_it_judges_by_the_slos_of_the_incident() -> None:
    """Those in force when it opened: what its pages show, and not what is learned from another time."""
    item = replace(over(), affected=(service("embedder"), service("gateway")))
    slos = [ServiceSlo(who, 0.04, 0.01, learned=False) for who in item.affected]
    found = report(contended(), replace(item, slos=tuple(slos))).markdown
    assert "slower than the SLO (40 ms at gateway" in section(found, "Impact")
    assert "gateway breaches its SLO" in section(found, "Timeline")
    assert "gateway breaches its SLO" not in report(contended(), item).markdown


def test_its_sections_are_in_order() -> None:
    """In the order of a postmortem template; the timeline starts at the first anomaly."""
    result = report(contended(), over()).markdown
    assert result.startswith("# Incident 20251125T095730Z-embedder\n\n## Summary\n\n")
    assert re.findall(r"^## (.+)$", result, re.MULTILINE) == [
        "Summary",
        "Impact",
        "Timeline",
        "Root cause",
        "Actions",
        "Evidence",
    ]
    lines = section(result, "Timeline").strip().splitlines()
    assert lines[0] == "- 09:56:50 **first anomaly**"
    assert "- 09:57:30 paged, 40 s after the first anomaly" in lines
    assert lines[-1] == "- 09:59:00 resolved"
    assert section(result, "Evidence").count("\n| ") == 2 + len(over().evidence)
    assert "Move train-llm off host-0/gpu-0 and host-0/gpu-1" in section(result, "Actions")
    assert "Simulated platform." in result


def test_it_has_the_suspected_cause_of_the_page_where_it_was_another() -> None:
    """The person on call had to act on it."""
    before = replace(over(), suspect=SuspectedCause(service("batch-eval")), cause="overload")
    assert (
        "Suspected cause when the page was sent: batch-eval: overload." in report(contended(), over(), before).markdown
    )
    assert "when the page was sent" not in report(contended(), over(), over()).markdown


def test_a_later_cause_stands_beside_the_paged_one() -> None:
    """It explains what followed, not what was paged."""
    later = LaterCause(service("rag-api"), "scale_up_lag", SuspectedCause(service("gateway")), NOW - 100)
    root_cause = section(report(contended(), replace(over(), later=later)).markdown, "Root cause")
    assert root_cause.strip().startswith("train-llm")
    assert "Later also at rag-api: scale-up lag: new replicas are not ready, since 09:58:20 UTC." in root_cause


@pytest.mark.parametrize(
    ("known_after", "said"),
    [
        pytest.param(9, "09:58:50 embedder is within its SLO again", id="data go on"),
        pytest.param(3, "09:59:40 embedder is within its SLO again", id="data go on after a gap"),
        pytest.param(0, "09:58:30 embedder still breaches its SLO: no later data", id="data end"),
    ],
)
def test_a_service_is_within_its_slo_again_only_where_data_show_it(known_after: int, said: str) -> None:
    """With the first latency after the breach."""
    world = contended()
    item = replace(over(), resolved=world.time)
    p95 = world.red.p95.copy()
    row = p95[world.services.index(item.service)]
    row[-18:-9] = 60.0
    row[-9:] = math.nan
    row[len(row) - known_after :] = 0.05
    red = replace(world.red, p95=p95, error_rate=np.zeros_like(p95))
    timeline = section(report(replace(world, red=red), item).markdown, "Timeline")
    assert re.findall(r"- (.+ embedder (?:still|is within).+)", timeline) == [said]


@pytest.mark.parametrize(("paged", "words"), [(True, "would have saved up to"), (False, "No page was sent.")])
def test_it_says_what_acting_on_the_warning_would_have_saved(paged: bool, words: str) -> None:
    """Per entry service, with the sum of what came after the page."""
    item = over() if paged else replace(over(), paged=None)
    cost = section(report(contended(), item).markdown, "Impact")
    assert "| gateway |" in cost
    assert words in cost


def test_its_cause_and_scores_are_those_of_the_pages() -> None:
    """The label of the cause, and a score that no reader takes for a confidence."""
    result = report(contended(), over()).markdown
    assert "| Cause | GPU contention |" in result
    root_cause = section(result, "Root cause")
    assert ": GPU contention (" in root_cause
    assert f"| {over().candidates[0].service} | {over().candidates[0].score:.2f} |" in root_cause


def test_each_plot_is_named_in_the_text_and_is_well_formed() -> None:
    """Durations, failures, requests, GPU time, and waiting, with the moments of the incident marked."""
    found = report(contended(), over())
    assert list(found.plots) == ["latency", "error-rate", "request-rate", "gpu-usage", "gpu-wait"]
    assert re.findall(r"\]\((.+?)\.svg\)", found.markdown) == list(found.plots)
    for svg in found.plots.values():
        drawn = ElementTree.fromstring(svg)  # noqa: S314 - our own
        texts = [each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
        assert {"first anomaly", "paged", "resolved"} <= set(texts)
    assert "— train-llm" in found.plots["gpu-wait"]


def test_names_from_outside_stay_text() -> None:
    """A service may be called anything: it neither ends a cell of a table nor becomes a tag."""
    world = contended({"train-llm": HOSTILE, "embedder": "a|b"})
    found = report(world, contention_incident(world, "a|b", HOSTILE))
    assert "| a\\|b |" in found.markdown
    assert all("<img" not in text for text in (found.markdown, *found.plots.values()))


IMAGE = "![](https://elsewhere.example/p.png)"


@pytest.mark.parametrize(
    "name", [IMAGE, f"a\n\n{IMAGE}", f"`{IMAGE}`", f"\\{IMAGE}", f"a|b {IMAGE}", "[a](javascript:x)"]
)
def test_a_name_makes_no_image_link_code_or_new_line(name: str) -> None:
    """Wherever an incident has it; the images are the plots, beside the text."""
    world = contended({"train-llm": name, "embedder": f"{name}2"})
    result = contention_incident(world, f"{name}2", name)
    risky = replace(
        result,
        at_risk=(AtRisk(service(name), 60.0, 120.0, math.inf),),
        evidence=(result.evidence[0]._replace(name=name, entity=name),),
        candidates=(result.candidates[0]._replace(reasons=(Reason("cause", name=name),)),),
    )
    plain = report(contended(), contention_incident(contended()))
    found = report(world, risky, replace(risky, suspect=SuspectedCause(host=name)))
    unescaped = re.sub(r"\\[\\`\[\]!|]", "", found.markdown)
    assert re.findall(r"!?\[.*?\]\(.*?\)", unescaped) == re.findall(r"!\[.*?\]\(.*?\)", plain.markdown)
    assert "`" not in unescaped
    for table in re.findall(r"(?:^\|.*\n)+", unescaped, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1
    assert not any(line.startswith("!") for line in found.markdown.splitlines() if not line.endswith(".svg)"))


def test_with_nothing_but_the_incident_there_is_a_report() -> None:
    """No World around it, no evidence, no end: what is not known is said."""
    item = replace(over(), evidence=(), resolved=None, paged=None, actions=(), suspect=SuspectedCause(), candidates=())
    result = report(bare(), item)
    assert result.plots == {}
    assert "Impact unknown: no entry service observed." in result.markdown
    assert "No mitigation identified." in result.markdown


def test_who_is_at_risk_is_in_the_timeline() -> None:
    """With the time that is left."""
    item = replace(contention_incident(contended()), at_risk=(AtRisk(service("rag-api"), 60.0, 120.0, math.inf),))
    assert "- at risk: rag-api (median &lt; 5 min)" in report(contended(), item).markdown
    assert "- at risk" not in report(contended(), replace(item, state="resolved", resolved=NOW)).markdown


def test_it_states_detection_breach_response_and_recovery_with_the_time_between() -> None:
    """Of a real SLO breach of the data: what an SRE reads first."""
    world, item = contended(), replace(over(), recovering_since=NOW - 70)
    assert item.paged
    p95 = world.red.p95.copy()
    p95[world.services.index(item.service), -12:-6] = 60.0
    world = replace(world, red=replace(world.red, p95=p95))
    entry = Entry(1, "incident", item.paged + 60, "dana", acknowledge(item.id))
    earlier = replace(item, actions=(Action("pause", service("train-llm")),), affected=(service("gateway"),))
    result = report(world, item, earlier, fold([entry])).markdown
    summary, timeline = section(result, "Summary"), section(result, "Timeline")
    assert re.search(r"\| Acknowledged \| 2025-11-25 09:58:30 UTC by dana, \S+ \w+ after the page \|", summary)
    assert "| Symptoms ended | 2025-11-25 09:58:50 UTC |" in summary
    assert re.search(r"\| First SLO breach \| 2025-11-25 09:5\d:\d\d UTC at embedder, .+ the page \|", summary)
    assert "| Affected services | gateway, embedder" in summary
    assert re.findall(r"embedder (breaches its SLO|is within its SLO again)", timeline)
    assert "symptoms ended" in timeline
    assert "Recommended at the page:\n\n1. Scale train-llm to 0 replicas" in section(result, "Actions")
    now = section(report(world, replace(item, actions=earlier.actions)).markdown, "Actions")
    limit = Action("limit_rate", Service("product", "front"), amount=2.0, current=4.0)
    taken = section(report(world, replace(item, actions=(limit,))).markdown, "Actions")
    assert re.findall(r"^   (\w+): (?=`|Envoy Gateway only)", taken, re.MULTILINE) == ["Note", "Command", "Rollback"]
    assert "Recommended:\n\n1. Scale train-llm to 0 replicas" in now  # what was recommended at the page is unknown


def test_an_incident_is_chosen_by_its_id_its_beginning_or_as_the_latest() -> None:
    """And a name that fits none or several is refused with those that there are."""
    one, two = over(), replace(over(), id="20251125T100000Z-reranker", opened=NOW)
    assert incident_named(one.id, (one, two)) == one
    assert incident_named("20251125T10", (one, two)) == two
    assert incident_named("latest", (one, two)) == two
    assert incident_named("latest", (one, replace(two, paged=None))) == one
    assert incident_named("latest", (replace(one, paged=None), replace(two, paged=None))).id == two.id
    with pytest.raises(LookupError, match=r"several incidents match '2025'. Known: 2025.*, 2025"):
        incident_named("2025", (one, two))
    with pytest.raises(LookupError, match=r"no incident 'x'. Known: 2025.*, 2025"):
        incident_named("x", (one, two))
    with pytest.raises(LookupError, match=r"no incident 'latest'. Known: none."):
        incident_named("latest", ())


def test_the_hub_writes_it_for_those_who_ask(caller: Caller, hub: FakeHub) -> None:
    """Markdown and plots in JSON; 404 for what it does not know."""
    result = caller.get("/api/report/latest").json()
    assert result["id"] == "20251125T095730Z-embedder"
    assert result["markdown"].startswith("# Incident 20251125T095730Z-embedder")
    assert result["plots"]["latency"].startswith("<svg ")
    assert caller.get("/api/report/nothing").status_code == 404
    hub.snapshot = SCENES["error"]()
    assert "waiting for the first evaluation" in caller.get("/api/report/latest").json()["error"]


def test_a_line_has_gaps_where_nothing_is_known_and_marks_near_each_other_do_not_cover_each_other() -> None:
    """Nothing is drawn across what was not measured."""
    line = SvgLine("a", [0.0, 60.0, 120.0, 180.0, 240.0], [1.0, 2.0, math.nan, 3.0, 4.0])
    svg = draw("t", Axis("time", clock=True), Axis("y"), [line], [SvgMark(60.0, "one"), SvgMark(61.0, "two")])
    assert svg.count("<polyline") == 2
    heights = re.findall(r'translate\(\S+ (\d+)\) rotate\(-90\)" text-anchor="end"', svg)
    assert len(set(heights)) == 2
    assert ">00:01<" in svg
