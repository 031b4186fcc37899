"""Rules, dashboards, runbooks, and pages read only emitted metrics: a rule on a missing metric would never fire."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.alerts.conftest import CHANGE
from tests.alerts.foreign import BY_THE_SCRAPE, FOREIGN, PRODUCERS

from foreshock_dashboard.changes.labels import CHANGE_METRIC
from foreshock_dashboard.hub.self_metrics import change_samples
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.query import Query
from foreshock_dashboard.world.builder import catalog

Yaml = dict[str, Any]


class Asked(NamedTuple):
    """The series that an expression selects."""

    selectors: tuple[tuple[str, frozenset[str]], ...]
    groups: frozenset[str]


MADE = frozenset({"direction", "kind", "reason", "sli", "deployment", "xid", "uuid", "by", "incident", "namespace"})
"""Labels that the rules themselves make."""
CONFIGURED = frozenset({"service:slo_violations:rate5m", "service:slo_error_budget:ratio"})
"""What `foreshock generate rules` writes for each SLO."""
SOMETIMES = frozenset(
    {"connection_type", "model_name", "pool", "pool_name", "db_client_connection_pool_name", "revision"}
    | {"namespace", "k8s_namespace_name"}
)
"""Labels that only some of the selected series have: callees without spans, model servers of more than one model,
connection pools, whose name has a different label in each library, changes with a revision, and targets with a
namespace."""


@pytest.fixture
def expressions(root: Path, rules: list[Yaml]) -> dict[str, str]:
    """Every expression of rules and boards, by where it stands."""
    found = {rule.get("record") or f"{rule['alert']} ({at})": rule["expr"] for at, rule in enumerate(rules)}
    for file in root.glob("grafana/dashboards/*.json"):
        board = json.loads(file.read_text())
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                found[f"{file.name}: {panel['title']} {target['refId']}"] = target["expr"]
        for variable in board["templating"]["list"]:
            if values := re.fullmatch(r"label_values\((\w+), (\w+)\)", variable.get("definition", "")):
                found[f"{file.name}: variable {variable['name']}"] = f'{values[1]}{{{values[2]}!=""}}'
    return found


def test_every_selected_metric_and_label_is_really_emitted(
    expressions: dict[str, str],
    rules: list[Yaml],
    emitted: Mapping[str, frozenset[str]],
    asks: Callable[[str], Asked],
) -> None:
    """Compared with the pages of a real exporter in mock mode and of the hub."""
    recorded = {rule["record"] for rule in rules if "record" in rule} | CONFIGURED
    emitters = {**FOREIGN, **emitted}
    labels = frozenset().union(*emitters.values()) | BY_THE_SCRAPE | MADE
    wrong = []
    for where, expression in expressions.items():
        for metric, matched in asks(expression).selectors:
            if metric in recorded:
                wrong += [f"{where}: {label}" for label in matched - labels]
            elif metric in emitters:
                known = emitters[metric] | BY_THE_SCRAPE
                wrong += [f"{where}: {metric} has no {label}" for label in matched - known]
            else:
                wrong.append(f"{where}: no producer of {metric}")
        wrong += [f"{where}: groups by {label}" for label in asks(expression).groups - labels]
    assert not wrong, "\n".join(wrong)


def test_promtool_finds_no_fault_in_the_hubs_metrics(
    hub_page: Callable[..., str], incident: Callable[..., Incident]
) -> None:
    """`promtool check metrics`, with incidents, forecasts, and refusals on the page."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed; `make setup-tests` installs it")
    text = hub_page([incident("i", "critical"), incident("j", "warning", "search")])
    assert 'foreshock_slo_breach_eta_seconds{quantile="0.5"' in text
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def pages() -> list[Query]:
    """What the hub queries, whatever of it a page shows, in every form that producers give it."""
    return [query for row in catalog(59.0).values() for query in row.queries]


def test_every_metric_and_label_that_a_page_queries_is_really_emitted(emitted: Mapping[str, frozenset[str]]) -> None:
    """By exporter and hub themselves, by the hub into its store, or by a producer that is declared."""
    escaped = {name.replace(":", "_"): labels for name, labels in FOREIGN.items()}  # as prometheus_client may write it
    emitters = {**escaped, **FOREIGN, **emitted}
    failure = replace(CHANGE, key="github:a/llm:7", failed_at=CHANGE.at)
    samples = change_samples([CHANGE, failure], CHANGE.at)
    stored = {CHANGE_METRIC: frozenset(label for sample in samples for label, _ in sample.labels)}
    besides = {**stored, **FOREIGN}
    wrong = []
    for query in pages():
        asked = {matcher.label for matcher in query.matchers} | set(query.by or ())
        if (metric := query.series_name) not in emitters:
            wrong.append(f"no producer of {metric}")
        elif missing := asked - emitters[metric] - besides.get(metric, frozenset()) - BY_THE_SCRAPE - SOMETIMES:
            wrong.append(f"{metric} has no {', '.join(sorted(missing))}")
    assert not wrong, "\n".join(wrong)


def test_every_metric_that_a_runbook_names_is_really_emitted(
    root: Path, rules: list[Yaml], emitted: Mapping[str, frozenset[str]]
) -> None:
    """A reader at night types it as it stands."""
    known = {*FOREIGN, *emitted, *CONFIGURED} | {rule["record"] for rule in rules if "record" in rule}
    named = {
        (page.stem, name)
        for page in root.glob("alerts/runbooks/*.md")
        for code in re.findall(r"`([^`]+)`", page.read_text())
        for name in re.findall(r"(?<![\w:])(?:foreshock|gpu|node|kube|vllm|traces|DCGM)[_:]\w+|\w+:\w+:\w+", code)
    }
    assert len(named) > 20
    assert sorted(each for each in named if each[1] not in known) == []


def test_every_declared_foreign_name_is_selected(expressions: dict[str, str], asks: Callable[[str], Asked]) -> None:
    """Nor one twice, or one that is ours."""
    asked = {metric for text in expressions.values() for metric, _ in asks(text).selectors}
    assert FOREIGN.keys() - asked - {query.series_name for query in pages()} == set()
    assert len(FOREIGN) == sum(len(each.metrics) for each in PRODUCERS)
    assert [metric for metric in FOREIGN if metric.startswith(("foreshock_", "gpu_"))] == []


def test_every_recording_rule_is_used(
    expressions: dict[str, str], rules: list[Yaml], asks: Callable[[str], Asked], root: Path
) -> None:
    """By another rule, by a board, or in a runbook."""
    recorded = {rule["record"] for rule in rules if "record" in rule}
    used = {metric for where, text in expressions.items() for metric, _ in asks(text).selectors if metric != where}
    written = "".join(page.read_text() for page in root.glob("alerts/runbooks/*.md"))
    assert {name for name in recorded if name not in used and name not in written} == set()


def test_the_reader_of_expressions_sees_what_they_ask_for(asks: Callable[[str], Asked]) -> None:
    """Names in functions, label lists, strings, ranges and offsets are emitters apart from metrics."""
    found = asks(
        'sum by (a, b) (rate(x_total{c=~"d{e}|f", g!="h"}[5m] offset 10m)) / on (a) group_left () (s:y:z > bool 0.1)'
        " and up offset 1h or quantile_over_time(0.5, w[1h:30s])"
    )
    assert found.selectors == (
        ("x_total", frozenset({"c", "g"})),
        ("s:y:z", frozenset()),
        ("up", frozenset()),
        ("w", frozenset()),
    )
    assert found.groups == {"a", "b"}
