"""The example for Alertmanager: accepted, and it brings each alert to where it belongs."""

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


def test_the_linter_knows_no_alert_that_is_misrouted_or_held_back_in_vain(root: Path) -> None:
    """`amlint`, over the routes, the inhibitions and all alerts of the rules."""
    words = ("check", "--format=json", f"--rules={root}/alerts/*.rules.yml", f"{root}/alerts/alertmanager.yml")
    amlint = Path(sys.executable).with_name("amlint")
    done = subprocess.run([amlint, *words], cwd=root, capture_output=True, text=True, timeout=60, check=False)
    found = [(each["level"], each["code"], each["where"]) for each in json.loads(done.stdout)]
    # One alert in two severities: the sides are told apart by these.
    assert found == [("info", "inhibit-same-match", "inhibit_rules[4]")], done.stdout
    assert done.returncode == 0, done.stderr


def test_every_alert_reaches_the_receiver_of_its_severity(
    root: Path, tool: Callable[..., str], rules: list[Yaml]
) -> None:
    """`amtool config routes test`, with the labels of each kind of rule."""
    file = root / "alerts/alertmanager.yml"
    kinds = {
        (rule["labels"]["severity"], "origin" in rule["labels"], "uuid" in rule["expr"])
        for rule in rules
        if "alert" in rule
    }
    assert len(kinds) >= 5
    for severity, service, gpu in kinds:
        labels = [f"severity={severity}", *(["origin=a/chat"] if service else []), *(["uuid=G0"] if gpu else [])]
        receiver = tool("amtool", "config", "routes", "test", f"--config.file={file}", *labels).strip()
        assert receiver == {"critical": "page", "warning": "tell", "info": "tell"}[severity], labels


def test_alerts_are_grouped_alike_at_every_severity(config: Yaml) -> None:
    """An incident and its effects must arrive together, so no child route may fall back to other groups."""

    def groups(route: Yaml, inherited: list[str]) -> Iterator[tuple[str, ...]]:
        own = route.get("group_by", inherited)
        yield tuple(own)
        for child in route.get("routes", []):
            yield from groups(child, own)

    services, gpus, others = config["route"]["routes"]
    assert (services["matchers"], set(groups(services, []))) == (['origin!=""'], {("origin",)})
    assert (gpus["matchers"], set(groups(gpus, []))) == (['uuid!=""'], {("instance",)})
    assert "group_by" not in others


def test_what_ties_two_alerts_together_is_demanded_on_both_sides(config: Yaml) -> None:
    """Labels missing on both sides count as equal: without this a lost GPU would silence the whole fleet."""
    may_be_missing = {"service_namespace", "instance", "objective"}  # beside service_name and uuid, which may not
    for rule in config["inhibit_rules"]:
        tied = set(rule["equal"]) - may_be_missing
        assert tied
        for side in ("source_matchers", "target_matchers"):
            assert {f'{label}!=""' for label in tied} <= set(rule[side]), rule


def test_no_alert_can_hold_back_itself_or_what_is_worse(config: Yaml, rules: list[Yaml]) -> None:
    """What holds back is a cause, or a name that is not held back by the same rule; a warning never silences a page."""
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
        if known is None and label in ("origin", "aggressor") and "incident:open" not in rule["expr"]:
            return False  # only rules give these: those of incidents in a series that they are made of
        if known is not None and (known == value) != (operator == "="):
            return False
        if label == "uuid" and "uuid" not in rule["expr"] and "gpu:" not in rule["expr"] and "gpu_" not in rule["expr"]:
            return False
        if label == "service_name" and "origin" not in fixed:
            return False
    return True
