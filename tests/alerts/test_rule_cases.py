"""The unit tests of the rules see the world as it is: scrapes are lost, and counters restart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

Yaml = dict[str, Any]
NOT_SCRAPED = frozenset({"ForeshockExporterDown", "ForeshockHubDown"})
"""A lost scrape is their condition: it has a sample of `up`."""
NOT_COUNTED_HERE = frozenset({"ForeshockSLOFastBurn", "ForeshockSLOSlowBurn", "ForeshockScaleUpLag"})
"""Their cases use recorded series and gauges; the recording rules of SLOs are tested beside the command."""
_TERM = re.compile(r"(?P<first>[^+\-x]\S*?|-\S+?)(?:(?P<sign>[+-])(?P<step>[\d.]+))?(?:x(?P<times>\d+))?")


def samples(values: str) -> Iterator[float | None]:
    """What promtool makes of its notation for a series; None where there is no sample.

    Raises:
        ValueError: a term is none of `1`, `1x2`, `1+2x3`, `_`, `_x2`, `stale`.
    """
    for term in values.split():
        found = _TERM.fullmatch(term)
        if found is None:
            raise ValueError(term)
        times = int(found["times"] or 0)
        if found["first"] in ("_", "stale"):
            yield from [None] * max(times, 1)
        else:
            step = float(found["step"] or 0) * (-1 if found["sign"] == "-" else 1)
            yield from (float(found["first"]) + step * n for n in range(times + 1))


def is_lost(series: Yaml) -> bool:
    """Whether there is no sample between two others."""
    there = [value is not None for value in samples(str(series["values"]))]
    return False in there[there.index(True) : len(there) - there[::-1].index(True)] if True in there else False


def resets(series: Yaml) -> bool:
    """Whether a counter goes back."""
    counted = re.match(r"[\w:]+(?:_total|_count|_bucket|Segs)\{|otelcol_\w+", series["series"])
    values = [value for value in samples(str(series["values"])) if value is not None]
    return counted is not None and any(after < before for before, after in pairwise(values))


@pytest.fixture(scope="module")
def fired(root: Path) -> list[tuple[set[str], list[Yaml]]]:
    """Of each case: the alerts that fire in it, and its series."""
    files = root.glob("tests/alerts/cases/*.yml")
    cases = [case for file in files for case in yaml.safe_load(file.read_text())["tests"]]
    return [
        ({check["alertname"] for check in case.get("alert_rule_test", []) if check.get("exp_alerts")},
         case["input_series"])
        for case in cases
    ]  # fmt: skip


def test_each_alert_fires_in_a_case_in_which_scrapes_are_lost(
    rules: list[Yaml], fired: list[tuple[set[str], list[Yaml]]]
) -> None:
    """No alert escapes: the list is read from the rules."""
    seen = set().union(*(names for names, series in fired if any(map(is_lost, series))))
    assert {rule["alert"] for rule in rules if "alert" in rule} - seen == NOT_SCRAPED


def test_each_alert_on_rates_fires_in_a_case_in_which_counters_reset(
    rules: list[Yaml], fired: list[tuple[set[str], list[Yaml]]]
) -> None:
    """Whether it reads them itself, or by way of a recording rule."""
    recorded = {rule["record"]: rule["expr"] for rule in rules if "record" in rule}

    def counts(expression: str) -> bool:
        below = [recorded[name] for name in re.findall(r"\w+:\w+:\w+", expression) if name in recorded]
        return "rate(" in expression or "increase(" in expression or any(counts(each) for each in below)

    counting = {rule["alert"] for rule in rules if "alert" in rule and counts(rule["expr"])}
    seen = set().union(*(names for names, series in fired if any(map(resets, series))))
    assert len(counting) > 10
    assert counting - seen == NOT_COUNTED_HERE
