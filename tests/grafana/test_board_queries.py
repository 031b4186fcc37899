"""Every query of every board, on a real Prometheus that holds a recording: it is answered, with data."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
import yaml
from tests.grafana.conftest import FOLDER, Json, Recorded, panels, queries, records
from tests.grafana.promql import filled, levels, selectors

MINUTES = 10
"""How far back the range queries look."""


def answer(recorded: Recorded, path: str, **parameters: object) -> list[Any]:
    """A query's result."""
    reply = httpx.get(f"{recorded.url}/api/v1/{path}", params={key: str(value) for key, value in parameters.items()})
    assert reply.status_code == 200, reply.text
    result: list[Any] = reply.json()["data"]["result"]
    return result


def test_every_query_returns_data(boards: list[Json], recorded: Recorded) -> None:
    """As its panel asks it: now, or over a range. A panel that nothing can fill would look like a healthy one."""
    empty = []
    for board in boards:
        for panel in panels([board]):
            for target in panel["targets"]:
                text = filled(target["expr"])
                if target.get("instant"):
                    result = answer(recorded, "query", query=text, time=recorded.end)
                else:
                    start = recorded.end - 60 * MINUTES
                    result = answer(recorded, "query_range", query=text, start=start, end=recorded.end, step=15)
                if not result:
                    empty.append(f"{board['uid']}: {panel['title']}: {text}")
    assert not empty, "\n".join(empty)


def test_variables_and_annotations_find_something(boards: list[Json], recorded: Recorded) -> None:
    """Or a choice would be empty, and no incident marked."""
    others = {where: text for where, text in queries(boards).items() if ": variable " in where or "annotation" in where}
    assert len(others) > len(boards)
    assert [
        where for where, text in others.items() if not answer(recorded, "query", query=text, time=recorded.end)
    ] == []


def test_series_have_every_selected_label(boards: list[Json], recorded: Recorded) -> None:
    """A matcher on a label that no series has matches nothing, or everything."""
    wrong = []
    for where, text in queries(boards).items():
        for selector in selectors(text):
            found = answer(recorded, "query", query=f"last_over_time({selector.metric}[10m])", time=recorded.end)
            known = {label for series in found for label in series["metric"]}
            wrong += [f"{where}: {selector.metric} has no {label}" for label in selector.labels - known]
    assert not wrong, "\n".join(wrong)


def test_every_legend_names_labels_that_its_series_have(boards: list[Json], recorded: Recorded) -> None:
    """Else it would be drawn without a name."""
    wrong = []
    for panel in panels(boards):
        if panel["type"] in ("table", "nodeGraph"):
            continue
        for target in panel["targets"]:
            series = answer(recorded, "query", query=filled(target["expr"]), time=recorded.end)
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            wrong += [f"{panel['title']}: {named}" for each in series if not named <= set(each["metric"])]
    assert wrong == []


def test_what_an_incident_shows_is_what_happened(boards: list[Json], recorded: Recorded) -> None:
    """The dashboards name the affected service, its noisy neighbor, and that callers breach their SLO too."""
    shown = {panel["title"]: filled(panel["targets"][0]["expr"]) for panel in panels(boards)}
    incidents = answer(recorded, "query", query=shown["Incidents"], time=recorded.end)
    (incident,) = (each for each in incidents if each["metric"]["cascading"] == "true")
    assert incident["metric"]["service"] == "serving/llm-chat"
    assert incident["metric"]["suspect"].startswith("ml/batch-embed")
    waiting = answer(recorded, "query", query=shown["GPU wait on the worst GPU"], time=recorded.end)
    pair = max(waiting, key=lambda each: float(each["value"][1]))["metric"]
    assert (pair["service"], pair["aggressor"]) == ("serving/llm-chat", "ml/batch-embed")


def test_the_map_of_calls_is_whole(boards: list[Json], recorded: Recorded) -> None:
    """Both ends of each edge are nodes, the rings add up to one, and no node or edge comes twice."""
    (panel,) = (panel for panel in panels(boards) if panel["type"] == "nodeGraph")
    found = {
        target["refId"]: answer(recorded, "query", query=filled(target["expr"]), time=recorded.end)
        for target in panel["targets"]
    }
    nodes = [each["metric"]["id"] for each in found["nodes_rate"]]
    edges = [each["metric"] for each in found["edges_rate"]]
    assert len(set(nodes)) == len(nodes)
    assert len({edge["id"] for edge in edges}) == len(edges) > 0
    assert {end for edge in edges for end in (edge["source"], edge["target"])} == set(nodes)
    rings = {
        each["metric"]["id"]: float(each["value"][1]) + float(other["value"][1])
        for each in found["nodes_failed"] for other in found["nodes_served"] if each["metric"] == other["metric"]
    }  # fmt: skip
    assert rings
    assert all(ring == pytest.approx(1) for ring in rings.values())
    assert set(rings) <= set(nodes)


def test_a_span_leads_to_metrics_of_its_service(recorded: Recorded) -> None:
    """The queries of the data source Tempo, with the labels that Grafana makes of the span's attributes."""
    file = FOLDER / "provisioning/datasources/tempo.yml"
    (source,) = yaml.safe_load(file.read_text())["datasources"]
    settings = source["jsonData"]["tracesToMetrics"]
    span = {"service.name": "llm-chat", "service.namespace": "serving"}
    tags = ",".join(f'{tag["value"]}="{span[tag["key"]]}"' for tag in settings["tags"])
    for query in settings["queries"]:
        text = filled(query["query"].replace("$$", "$").replace("$__tags", tags))
        assert answer(recorded, "query", query=text, time=recorded.end), text


def test_recording_rules_are_evaluated_in_the_order_in_which_they_read_each_other() -> None:
    """Which is what the data of the tests above rests on."""
    order = levels({"c": "b + a", "b": "rate(a[5m])", "a": "up", "d": "d offset 1m or c"})
    assert [sorted(level) for level in order] == [["a"], ["b"], ["c"], ["d"]]
    assert sum(len(level) for level in levels(records())) == len(records())
