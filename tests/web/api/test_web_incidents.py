"""docs/reference/incidents.md is the schema of an incident in JSON, and every incident follows it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from tests.web.worlds import NOW, contended, contention_incident, service, snapshot

from foreshock_dashboard.model.action import Action, ActionKind, Effect, LimitKind, Reason, ReasonKind
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.incident import (
    AtRisk,
    Candidate,
    Cause,
    Evidence,
    Incident,
    LaterCause,
    Severity,
    State,
    SuspectedCause,
)
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.incident_text import incident_text
from foreshock_dashboard.web.state import lists
from foreshock_dashboard.web.state.incident_json import VERSION, ClauseJson, incident, replayed

TEXT = (Path(__file__).parents[3] / "docs" / "reference" / "incidents.md").read_text()


def full() -> Incident:
    """One that has something under every key."""
    effect = Effect("p95", service("embedder"), "s", 0.4, 0.1, 0.2, "slo")
    return replace(
        contention_incident(contended(), severity="critical"),
        suspect=SuspectedCause(
            service("train-llm"), contended().gpus[:2], "chat", (service("gateway"), service("rag-api")), "host-0"
        )._replace(change=Change(NOW - 60, "deployment", service("train-llm"), before="1", after="2", source="traces")),
        at_risk=(AtRisk(service("rag-api"), 0.0, 90.5, math.inf),),
        resolved=NOW,
        cascading=True,
        actions=(Action("limit_rate", amount=1.0, reason=Reason("gpu_share"), effect=effect),),
        candidates=(Candidate(service("train-llm"), 0.9, (Reason("slower", value=2.0),)),),
        later=LaterCause(service("rag-api"), "overload", SuspectedCause(service("rag-api")), NOW - 30),
    )


def keys(value: object, above: str = "") -> set[str]:
    """Every key of an object, those of objects and lists in it as `outer.inner`."""
    if isinstance(value, list):
        return set().union(*(keys(one, above) for one in value)) if value else set()
    if not isinstance(value, dict):
        return set()
    return set().union(*({f"{above}{key}"} | keys(one, f"{above}{key}.") for key, one in value.items()))


def documented() -> set[str]:
    """The first column of the first table."""
    table = TEXT.partition("| key |")[2].partition("\n\n")[0]
    return {name for row in table.splitlines()[2:] for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def test_the_schema_has_every_key_and_no_other() -> None:
    """Both ways: every key is documented, and every documented key exists."""
    result = replayed([full()], {})["incidents"][0]
    assert keys(json.loads(json.dumps(result, default=vars))) == documented()
    assert result.keys() - {"at_page"} == incident(full()).keys()


def test_what_a_replay_keeps_of_a_page_is_documented() -> None:
    """By name, in the sentence after the table."""
    text = re.sub(r"\s+", " ", TEXT).partition("at the time of the page:")[2].partition(".")[0]
    result = replayed([full()], {full().id: replace(full(), confidence=0.5)})["incidents"][0]
    assert result["at_page"]
    assert set(re.findall(r"`([^`]+)`", text)) == result["at_page"].keys()
    assert (result["confidence"], result["at_page"]["confidence"]) == (0.93, 0.5)


@pytest.mark.parametrize("name", get_args(Cause))
def test_every_cause_is_one_documented_word(name: Cause) -> None:
    """As in the truth of a simulated recording."""
    row = next(line for line in TEXT.splitlines() if line.startswith("| `cause`"))
    assert f"`{name}`" in row
    assert re.fullmatch(r"[a-z_]+", name)


@pytest.mark.parametrize("name", [*get_args(ActionKind), *get_args(ReasonKind), *get_args(LimitKind)])
def test_every_kind_of_action_reason_and_limit_is_documented(name: str) -> None:
    assert f"`{name}`" in TEXT


@pytest.mark.parametrize("name", [*get_args(Severity), *get_args(State)])
def test_every_severity_and_state_is_documented(name: str) -> None:
    """In the tables of severities and states."""
    assert f"\n| `{name}` |" in TEXT


def test_beyond_the_horizon_is_null_and_at_once_is_zero() -> None:
    """Infinity has no form in JSON; zero says that it is missed already."""
    result = json.loads(json.dumps(incident(full()), allow_nan=False, default=vars))
    seconds = {"p10": None, "p20": 0.0, "p50": 90.5, "p80": None, "p90": None}
    assert result["at_risk"] == [{"service": "rag-api", "breach_seconds": seconds}]


@pytest.mark.parametrize(
    ("median", "line"),
    [(0.0, "  In SLO breach: rag-api"), (90.5, "  At risk: rag-api (median < 5 min, 80% interval: ")],
)
def test_a_service_whose_slo_is_breached_is_not_called_at_risk(median: float, line: str) -> None:
    """In the text of `foreshock incident show`."""
    item = replace(full(), at_risk=(AtRisk(service("rag-api"), 0.0, median, 600.0, 0.0, 900.0),))
    shown = incident_text(json.loads(json.dumps(incident(item), default=vars)))
    assert line in shown
    assert ("\n  At risk: " in shown) == (median > 0)


def test_a_terminal_shows_what_to_know_before_a_command_and_a_load_as_in_the_headline() -> None:
    limit = Action("limit_rate", Service("product", "front"), amount=2.0, current=4.0)
    load = Evidence("load", 1.38, 0.546, "ratio", NOW, "llm", "load")
    lines = incident_text(
        json.loads(json.dumps(incident(replace(full(), actions=(limit,), evidence=(load,))), default=vars))
    )
    first = lines.index("    Note: Envoy Gateway only (")
    demanded = '(: "${ENVOY_REPLICAS:?set it to the number of Envoy replicas}"'
    assert first < lines.index(f"    Command: {demanded} && test -s rateLimit.") < lines.index("    Rollback: ")
    assert "  Evidence: load of llm: > 100% (baseline 55%) since " in lines


def test_a_service_at_risk_in_an_early_warning_is_not_likely_to_breach() -> None:
    """In the text of `foreshock incident show`: few trends end in a breach."""
    item = replace(full(), severity="warning", at_risk=(AtRisk(service("rag-api"), 0.0, 90.5, 600.0, 0.0, 900.0),))
    assert "  At risk: rag-api (median < 5 min, 80% interval: " in incident_text(
        json.loads(json.dumps(incident(item), default=vars))
    )


def test_an_edge_is_written_with_an_arrow_and_what_is_not_known_is_null() -> None:
    """As in the truth of a simulated recording."""
    assert incident(full())["suspect"].edge == "gateway -> rag-api"
    assert vars(incident(replace(full(), suspect=SuspectedCause()))["suspect"]) == {
        "service": None,
        "gpus": [],
        "pool": None,
        "edge": None,
        "host": None,
        "text": "GPU contention",
        "clauses": [ClauseJson("GPU contention", "", (), (), None)],
        "change": None,
    }


def test_all_interfaces_give_the_same_incident() -> None:
    """The API's lists are the document under its own names."""
    world = contended()
    seen = snapshot(
        world, contention_incident(world), contention_incident(world, "reranker", "batch-eval", state="resolved")
    )
    everything = [*map(incident, seen.incidents)]
    assert lists.incidents(seen)["version"] == VERSION
    for state, shown in (("", everything), ("open", everything[:1]), ("resolved", everything[1:])):
        rows = [dict(row) for row in lists.incidents(seen, state)["incidents"]]
        assert all(row.pop("response") and row.pop("ownership") for row in rows)
        assert rows == shown
