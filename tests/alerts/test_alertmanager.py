"""The example configuration of Alertmanager: valid, and each alert reaches the right receiver."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

Yaml = dict[str, Any]


@pytest.fixture
def config(root: Path) -> Yaml:
    """The example."""
    loaded: Yaml = yaml.safe_load((root / "alerts/alertmanager.yml").read_text())
    return loaded


def test_alertmanager_accepts_the_configuration(root: Path, tool: Callable[..., str]) -> None:
    """`amtool check-config`."""
    assert "SUCCESS" in tool("amtool", "check-config", root / "alerts/alertmanager.yml")


def test_the_linter_finds_no_misrouted_alert_and_no_dead_inhibition(root: Path) -> None:
    """`amlint`, over the routes, the inhibitions and all alerts of the rules."""
    words = ("check", "--format=json", f"--rules={root}/alerts/*.rules.yml", f"{root}/alerts/alertmanager.yml")
    amlint = Path(sys.executable).with_name("amlint")
    done = subprocess.run([amlint, *words], cwd=root, capture_output=True, text=True, timeout=60, check=False)
    found = [(each["level"], each["code"], each["where"]) for each in json.loads(done.stdout)]
    # Early warnings send no notification, by design.
    assert found == [("info", "empty-receiver", "receivers[null]")], done.stdout
    assert done.returncode == 0, done.stderr


def test_every_alert_reaches_the_receiver_of_its_severity(
    root: Path, tool: Callable[..., str], rules: list[Yaml]
) -> None:
    """`amtool config routes test`, with the labels of each rule; early warnings send no notification."""
    file = root / "alerts/alertmanager.yml"
    for rule in (rule for rule in rules if "alert" in rule):
        name, severity = rule["alert"], rule["labels"]["severity"]
        labels = [f"alertname={name}", f"severity={severity}"]
        labels += ["origin=a/chat"] if "origin" in rule["labels"] else []
        labels += ["aggressor=ml/batch"] if "aggressor" in rule["labels"] else []
        labels += ["uuid=G0"] if "uuid" in rule["expr"] else []
        receiver = tool("amtool", "config", "routes", "test", f"--config.file={file}", *labels).strip()
        expected = {"critical": "page", "warning": "notify"}[severity]
        assert receiver == ("null" if name == "ForeshockEarlyWarning" else expected), labels


def test_a_team_opts_in_to_early_warnings_with_the_documented_route(
    root: Path, tool: Callable[..., str], config: Yaml, tmp_path: Path
) -> None:
    """For its services only; those of others still send no notification."""
    text = (root / "docs/reference/alerts.md").read_text()
    (route,) = re.findall(r"```yaml\n(- matchers: \[alertname=\"ForeshockEarlyWarning\".*?)```", text, re.DOTALL)
    config["route"]["routes"][:0] = yaml.safe_load(route)
    (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(config))

    def receiver(service: str) -> str:
        labels = ("alertname=ForeshockEarlyWarning", "severity=warning", "namespace=serving", f"service={service}")
        file = f"--config.file={tmp_path / 'alertmanager.yml'}"
        return tool("amtool", "config", "routes", "test", file, *labels).strip()

    assert (receiver("llm-chat"), receiver("other")) == ("notify", "null")


def test_alerts_are_grouped_alike_at_every_severity(config: Yaml) -> None:
    """An incident and its effects must arrive together, so no child route may fall back to other groups."""

    def groups(route: Yaml, inherited: list[str]) -> Iterator[tuple[str, ...]]:
        own = route.get("group_by", inherited)
        yield tuple(own)
        for child in route.get("routes", []):
            yield from groups(child, own)

    early, forecasts, services, gpus, others = config["route"]["routes"]
    assert early["receiver"] == "null"
    assert (forecasts["matchers"], forecasts["group_by"]) == (['urgency="working_hours"'], ["alertname", "origin"])
    (neighbor,) = (route for route in services["routes"] if route["group_by"] != ["origin"])
    assert (neighbor["matchers"], neighbor["group_by"]) == (['aggressor!=""'], ["aggressor"])
    services["routes"].remove(neighbor)
    assert (services["matchers"], set(groups(services, []))) == (['origin!=""'], {("origin",)})
    assert (gpus["matchers"], set(groups(gpus, []))) == (['uuid!=""'], {("instance",)})
    assert "group_by" not in others


def test_both_sides_of_an_inhibition_must_have_the_labels_that_tie_them(config: Yaml) -> None:
    """Labels missing on both sides count as equal: without this a lost GPU would inhibit the whole fleet."""
    may_be_missing = {"service_namespace", "instance", "sli"}  # beside service_name and uuid, which may not
    for rule in config["inhibit_rules"]:
        tied = set(rule["equal"]) - may_be_missing
        assert tied
        for side in ("source_matchers", "target_matchers"):
            assert {f'{label}!=""' for label in tied} <= set(rule[side]), rule


def test_no_alert_inhibits_itself_or_a_more_severe_one(config: Yaml, rules: list[Yaml]) -> None:
    """A source is a cause, or a name that the same rule does not target; a warning never inhibits a page."""
    alerts = [rule for rule in rules if "alert" in rule]
    for rule in config["inhibit_rules"]:
        sources = [each for each in alerts if _matches(each, rule["source_matchers"])]
        targets = [each for each in alerts if _matches(each, rule["target_matchers"])]
        assert sources, rule
        assert targets, rule
        assert not [each for each in sources if each in targets], rule
        assert {each["labels"]["severity"] for each in sources} == {"critical"}, rule


def _matches(rule: Yaml, matchers: list[str]) -> bool:
    """Whether an alert's fixed labels fit; labels of its series are taken to be there."""
    fixed = {"alertname": rule["alert"], **rule["labels"]}
    for label, operator, value in (re.fullmatch(r'(\w+)(!?=)"(.*)"', each).groups() for each in matchers):  # type: ignore[union-attr]
        known = fixed.get(label)
        if known is None and label in ("origin", "aggressor"):
            return False  # only rules set these
        if known is not None and (known == value) != (operator == "="):
            return False
        if label == "uuid" and "uuid" not in rule["expr"] and "gpu:" not in rule["expr"] and "gpu_" not in rule["expr"]:
            return False
        if label == "service_name" and "origin" not in fixed:
            return False
    return True
