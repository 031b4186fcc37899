"""The rules: accepted by Prometheus, each one tested, explained, and of the shape that people rely on."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from foreshock_dashboard.cli.hub_client import HUB_URL
from foreshock_dashboard.world.gpus import _HARDWARE_XIDS
from foreshock_exporter.otlp.readings import FATAL_XIDS

Yaml = dict[str, Any]


@pytest.fixture
def alerts(rules: list[Yaml]) -> list[Yaml]:
    """The alerting rules; several may have one name, and differ in severity."""
    return [rule for rule in rules if "alert" in rule]


@pytest.fixture
def names(alerts: list[Yaml]) -> set[str]:
    """Of all alerts."""
    return {rule["alert"] for rule in alerts}


@pytest.fixture(scope="session")
def cases(root: Path) -> list[Yaml]:
    """Every case of alerts/tests."""
    files = sorted(root.glob("alerts/tests/*.yml"))
    return [case for file in files for case in yaml.safe_load(file.read_text())["tests"]]


def test_prometheus_accepts_the_rules_and_finds_none_twice(root: Path, tool: Callable[..., str]) -> None:
    """`promtool check rules`, its lint included."""
    out = tool("promtool", "check", "rules", "--lint=all", "--lint-fatal", *root.glob("alerts/*.rules.yml"))
    assert "SUCCESS" in out


def test_every_unit_test_of_the_rules_passes(root: Path, tool: Callable[..., str]) -> None:
    """`promtool test rules` on all of alerts/tests."""
    files = sorted(root.glob("alerts/tests/*.yml"))
    assert files
    out = tool("promtool", "test", "rules", *files)
    assert out.count("SUCCESS") == len(files)


def test_a_unit_test_sees_each_alert_fire_stay_silent_and_end(alerts: list[Yaml], cases: list[Yaml]) -> None:
    """No alert escapes, in any of its severities: the list is read from the rules."""
    fires: set[tuple[str, ...]] = set()
    silent: set[str] = set()
    ends: set[str] = set()
    for case in cases:
        fired: set[str] = set()
        for check in case.get("alert_rule_test", []):
            name = check["alertname"]
            if expected := check.get("exp_alerts"):
                fires |= {_kind(name, each["exp_labels"]) for each in expected}
                fired.add(name)
            else:
                (ends if name in fired else silent).add(name)
    assert fires == {_kind(rule["alert"], rule["labels"]) for rule in alerts}
    assert silent == ends == {rule["alert"] for rule in alerts}


def test_the_healthy_day_has_every_metric_that_a_rule_asks_for(
    rules: list[Yaml], root: Path, asks: Callable[[str], Any]
) -> None:
    """Else a rule would be silent for want of anything to judge."""
    day = (root / "alerts/tests/day.yml").read_text()
    there = set(re.findall(r"series: '([\w:]+)", day))
    recorded = {rule["record"] for rule in rules if "record" in rule}
    asked = {metric for rule in rules for metric, _ in asks(rule["expr"]).selectors} - recorded
    variants = {"otelcol_receiver_refused_spans_total"}
    assert asked - there - variants == set()


def test_every_alert_has_a_runbook_that_says_what_to_do(root: Path, names: set[str]) -> None:
    """One page each, none left over, all with the same parts; links between them lead somewhere."""
    pages = {page.stem: page.read_text() for page in root.glob("alerts/runbooks/*.md")}
    assert set(pages) == names
    for name, text in pages.items():
        assert text.startswith(f"# {name}\n")
        heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert [head.split(" and ")[0] for head in heads] == [
            "Meaning", "Impact", "Diagnosis", "Mitigation", "False positives",
        ], name  # fmt: skip
        assert {Path(link).stem for link in re.findall(r"\]\(([^)]+)\)", text)} <= set(pages), name


def test_every_alert_is_in_the_documentation_with_its_times(root: Path, alerts: list[Yaml]) -> None:
    """The table of docs/reference/alerts.md lists the rules in their order, no more and no fewer."""
    row = r"^\| \[(\w+)\]\(\.\./alerts/runbooks/\w+\.md\) \| (\w+) \| .* \| (\S+) \| (\S+) \|$"
    rows = re.findall(row, (root / "docs/reference/alerts.md").read_text(), re.MULTILINE)
    assert rows == [
        (rule["alert"], rule["labels"]["severity"], rule["for"], rule.get("keep_firing_for", "–")) for rule in alerts
    ]


def test_every_recording_rule_is_in_the_documentation(root: Path, rules: list[Yaml]) -> None:
    """And named level:metric:operations."""
    text = (root / "docs/reference/alerts.md").read_text()
    for name in [rule["record"] for rule in rules if "record" in rule]:
        assert re.fullmatch(r"[a-z_]+:[a-z_]+:[a-z0-9_]+", name)
        assert f"`{re.sub('_rate(30m|.h|.d)$', '_rate5m', name)}`" in text, name


def test_alerts_have_the_shape_that_routes_and_people_rely_on(alerts: list[Yaml]) -> None:
    """Names, labels to route by, a summary that is one sentence for all, a description for this one, two links."""
    for rule in alerts:
        name, notes = rule["alert"], rule["annotations"]
        assert re.fullmatch(r"([A-Z]+[a-z0-9]+)+", name), name
        assert len(name) <= 40, name
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), name
        assert rule["labels"]["role"] in ("cause", "effect"), name
        assert re.fullmatch(r"[A-Z][^{}]+\.", notes["summary"]), name
        assert "{{" in notes["description"], name
        assert notes["runbook_url"] == f"{HUB_URL}/runbooks/{name}"
        assert re.match(
            rf"{HUB_URL}/(contention|cascade|fleet|services|traces|status)?($|\?|/)", notes["dashboard_url"]
        ), name
        assert "for" in rule, name


def test_there_are_no_more_alerts_than_people_learn(names: set[str]) -> None:
    """Eighteen to twenty-five of a fleet, and what it promises."""
    assert 18 <= len(names - {"ErrorBudgetBurn"}) <= 25


def test_a_comment_gives_the_reason_of_each_time(root: Path, alerts: list[Yaml]) -> None:
    """Above the rule of `for`, above it or at the head of the file of `keep_firing_for`."""
    told = 0
    for file in root.glob("alerts/*.rules.yml"):
        text = file.read_text()
        assert ("keep_firing_for:" in text) <= ("keep_firing_for" in "".join(re.findall(r"^ *#.*", text, re.MULTILINE)))
        for comment, name, rule in re.findall(r"((?: +#.*\n)+) +- alert: (\w+)\n((?: {8,}.*\n|\n)+)", text):
            found = re.search(r"^ +for: (\w+)$", rule, re.MULTILINE)
            assert found
            assert re.search(rf"for {found[1]}\b", comment), f"{name}: for {found[1]}"
            told += 1
    assert told == len(alerts)


def test_no_label_holds_a_value_that_changes_while_the_alert_fires(alerts: list[Yaml]) -> None:
    """Otherwise every evaluation would start the alert anew."""
    for rule in alerts:
        assert not any("$value" in str(value) for value in rule["labels"].values()), rule["alert"]


def test_no_label_is_made_of_a_template_that_may_expand_to_nothing(alerts: list[Yaml]) -> None:
    """In ALERTS, Prometheus would keep the template's text: it ends in a name that whatever fires has."""
    named = r"\{\{ \$labels\.(service_name|aggressor_name|client|server) \}\}"
    for rule in alerts:
        for label, value in rule["labels"].items():
            assert "{{" not in value or re.search(named + "$", value), f"{rule['alert']}: {label}"


def test_a_cause_speaks_no_later_than_its_effects_and_no_shorter(alerts: list[Yaml]) -> None:
    """Else the effects would be told first, or set free while the cause is dying down."""
    about_services = [rule for rule in alerts if "origin" in rule["labels"]]
    causes = [rule for rule in about_services if rule["labels"]["role"] == "cause"]
    effects = [rule for rule in about_services if rule["labels"]["role"] == "effect"]
    assert causes
    assert effects
    assert max(_seconds(rule["for"]) for rule in causes) <= min(_seconds(rule["for"]) for rule in effects)
    assert min(_seconds(rule["keep_firing_for"]) for rule in causes) >= max(
        _seconds(rule["keep_firing_for"]) for rule in effects
    )


def test_errors_of_gpus_are_told_apart_as_elsewhere(alerts: list[Yaml]) -> None:
    """Those that only a reset ends as the exporter has them; those of applications, which warn nobody, as the hub."""
    fatal, others = (
        set(map(int, re.findall(r"\d+", re.findall(r'xid[!=]~"([^"]+)"', rule["expr"])[0])))
        for rule in alerts
        if rule["alert"] == "GpuXid"
    )
    assert fatal == FATAL_XIDS
    assert others == FATAL_XIDS | set(map(int, _HARDWARE_XIDS.value.split("|"))) | {63, 92}


def _kind(name: str, labels: Yaml) -> tuple[str, ...]:
    """Tells rules of one name apart."""
    return (name, labels["severity"], labels.get("fault", ""))


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]
