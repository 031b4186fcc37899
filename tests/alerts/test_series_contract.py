"""Rules and boards ask only for what is really emitted: a rule on a metric that nobody has is silent for ever."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

Yaml = dict[str, Any]


class Asked(NamedTuple):
    """What an expression asks for."""

    selectors: tuple[tuple[str, frozenset[str]], ...]
    groups: frozenset[str]


OUTSIDE = {"up": frozenset[str]()}
"""Metrics that come from elsewhere: `up` is Prometheus' own, for each target."""
BY_THE_SCRAPE = frozenset({"job", "instance", "environment"})
"""Labels that the scrape configuration adds."""


@pytest.fixture
def expressions(root: Path, rules: list[Yaml]) -> dict[str, str]:
    """Every expression of rules, boards and runbooks, by where it stands."""
    found = {rule.get("alert") or rule["record"]: rule["expr"] for rule in rules}
    for file in root.glob("grafana/dashboards/*.json"):
        board = json.loads(file.read_text())
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                found[f"{file.name}: {panel['title']} {target['refId']}"] = target["expr"]
        for variable in board["templating"]["list"]:
            if values := re.fullmatch(r"label_values\((\w+), (\w+)\)", variable.get("definition", "")):
                found[f"{file.name}: variable {variable['name']}"] = f'{values[1]}{{{values[2]}!=""}}'
    return found


def test_every_metric_and_label_that_is_asked_for_is_really_emitted(
    expressions: dict[str, str],
    rules: list[Yaml],
    emitted: Mapping[str, frozenset[str]],
    asks: Callable[[str], Asked],
) -> None:
    """Compared with the pages of a real exporter in mock mode and of the hub."""
    recorded = {rule["record"] for rule in rules if "record" in rule}
    labels = frozenset().union(*emitted.values()) | BY_THE_SCRAPE
    wrong = []
    for where, expression in expressions.items():
        for metric, matched in asks(expression).selectors:
            if metric in recorded:
                wrong += [f"{where}: {label}" for label in matched - labels]
            elif metric in emitted or metric in OUTSIDE:
                known = emitted.get(metric, frozenset()) | BY_THE_SCRAPE
                wrong += [f"{where}: {metric} has no {label}" for label in matched - known]
            else:
                wrong.append(f"{where}: nobody emits {metric}")
        wrong += [f"{where}: groups by {label}" for label in asks(expression).groups - labels]
    assert not wrong, "\n".join(wrong)


def test_every_recording_rule_is_used(
    expressions: dict[str, str], rules: list[Yaml], asks: Callable[[str], Asked], root: Path
) -> None:
    """By another rule, by a board, or in a runbook."""
    recorded = {rule["record"] for rule in rules if "record" in rule}
    used = {metric for where, text in expressions.items() for metric, _ in asks(text).selectors if metric != where}
    written = "".join(page.read_text() for page in root.glob("alerts/runbooks/*.md"))
    assert {name for name in recorded if name not in used and name not in written} == set()


def test_the_reader_of_expressions_sees_what_they_ask_for(asks: Callable[[str], Asked]) -> None:
    """Names in functions, label lists, strings, ranges and offsets are told apart from metrics."""
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
