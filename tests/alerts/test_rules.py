"""The rules: accepted by Prometheus, each one tested, explained, and of the shape that people rely on."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Yaml = dict[str, Any]


@pytest.fixture
def alerts(rules: list[Yaml]) -> dict[str, Yaml]:
    """The alerting rules by name."""
    return {rule["alert"]: rule for rule in rules if "alert" in rule}


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


def test_a_unit_test_sees_each_alert_fire_and_each_one_stay_silent(root: Path, alerts: dict[str, Yaml]) -> None:
    """No alert escapes: the list is read from the rules."""
    fires: set[str] = set()
    silent: set[str] = set()
    for file in root.glob("alerts/tests/*.yml"):
        for case in yaml.safe_load(file.read_text())["tests"]:
            for check in case.get("alert_rule_test", []):
                (fires if check.get("exp_alerts") else silent).add(check["alertname"])
    assert fires == silent == set(alerts)


def test_every_alert_has_a_runbook_that_says_what_to_do(root: Path, alerts: dict[str, Yaml]) -> None:
    """One page each, none left over, all with the same parts; links between them lead somewhere."""
    pages = {page.stem: page.read_text() for page in root.glob("alerts/runbooks/*.md")}
    assert set(pages) == set(alerts)
    for name, text in pages.items():
        assert text.startswith(f"# {name}\n")
        heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert [head.split(" and ")[0] for head in heads] == [
            "Meaning", "Impact", "Diagnosis", "Mitigation", "False positives",
        ], name  # fmt: skip
        assert {Path(link).stem for link in re.findall(r"\]\(([^)]+)\)", text)} <= set(pages), name


def test_every_alert_is_in_the_documentation_with_its_severity(root: Path, alerts: dict[str, Yaml]) -> None:
    """The table of docs/alerts.md lists the alerts in the order of the rules, no more and no fewer."""
    rows = re.findall(r"^\| \[(\w+)\]\(\S+\) \| (\w+) \|", (root / "docs/alerts.md").read_text(), re.MULTILINE)
    assert rows == [(name, rule["labels"]["severity"]) for name, rule in alerts.items()]


def test_every_recording_rule_is_in_the_documentation(root: Path, rules: list[Yaml]) -> None:
    """And named level:metric:operations."""
    text = (root / "docs/alerts.md").read_text()
    for name in [rule["record"] for rule in rules if "record" in rule]:
        assert re.fullmatch(r"[a-z_]+:[a-z_]+:[a-z0-9_]+", name)
        assert f"`{name}`" in text


def test_alerts_have_the_shape_that_routes_and_people_rely_on(alerts: dict[str, Yaml]) -> None:
    """Names, labels to route by, a summary that is one sentence for all, a description for this one."""
    for name, rule in alerts.items():
        notes = rule["annotations"]
        assert re.fullmatch(r"([A-Z]+[a-z0-9]+)+", name), name
        assert len(name) <= 40, name
        assert rule["labels"]["severity"] in ("critical", "warning"), name
        assert rule["labels"]["role"] in ("cause", "effect"), name
        assert re.fullmatch(r"[A-Z][^{}]+\.", notes["summary"]), name
        assert "{{" in notes["description"], name
        assert notes["runbook_url"] == f"{{{{ $externalURL }}}}/user/runbooks/{name}.md"
        assert "for" in rule, name


def test_no_label_holds_a_value_that_changes_while_the_alert_fires(alerts: dict[str, Yaml]) -> None:
    """Otherwise every evaluation would start the alert anew."""
    for name, rule in alerts.items():
        assert not any("$value" in str(value) for value in rule["labels"].values()), name


def test_a_cause_speaks_no_later_than_its_effects_and_no_shorter(alerts: dict[str, Yaml]) -> None:
    """Else the effects would be told first, or set free while the cause is dying down."""
    about_services = [rule for rule in alerts.values() if "keep_firing_for" in rule]
    causes = [rule for rule in about_services if rule["labels"]["role"] == "cause"]
    effects = [rule for rule in about_services if rule["labels"]["role"] == "effect"]
    assert causes
    assert effects
    assert max(_seconds(rule["for"]) for rule in causes) <= min(_seconds(rule["for"]) for rule in effects)
    assert min(_seconds(rule["keep_firing_for"]) for rule in causes) >= max(
        _seconds(rule["keep_firing_for"]) for rule in effects
    )


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]
