"""The rules: valid, tested, documented, and of the shape that routes, silences, and people rely on."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from foreshock_dashboard.model.capacity.slow_burn import SlowBurnKind
from foreshock_dashboard.model.incident import Cause
from foreshock_dashboard.render.rules.rule_files import HUB_URL, RUNBOOK_URL
from foreshock_dashboard.render.words.capacity import SLOW_BURN_ACTIONS, SLOW_BURN_RUNBOOKS
from foreshock_exporter.model.xid_catalog import xids_of

Yaml = dict[str, Any]

OPERATIONS = re.compile(r"(p95_|mean_|ratio_)?rate(5m|30m|[12]h|6h|[13]d)|sum|max|diff|ratio")
"""What the third part of a recording rule's name may say."""
ENTITIES = ["service_name", "server", "client", "instance"]
"""Labels that name what an alert is about."""


@pytest.fixture
def alerts(rules: list[Yaml]) -> list[Yaml]:
    """The alerting rules."""
    return [rule for rule in rules if "alert" in rule]


@pytest.fixture
def names(alerts: list[Yaml]) -> set[str]:
    """Of all alerts."""
    return {rule["alert"] for rule in alerts}


@pytest.fixture(scope="session")
def cases(root: Path) -> list[Yaml]:
    """Every case of tests/alerts/cases."""
    files = sorted(root.glob("tests/alerts/cases/*.yml"))
    return [case for file in files for case in yaml.safe_load(file.read_text())["tests"]]


def test_prometheus_accepts_the_rules_without_duplicates(root: Path, tool: Callable[..., str]) -> None:
    """`promtool check rules`, its lint included."""
    out = tool("promtool", "check", "rules", "--lint=all", "--lint-fatal", *root.glob("alerts/*.rules.yml"))
    assert "SUCCESS" in out


def test_every_unit_test_of_the_rules_passes(root: Path, tool: Callable[..., str]) -> None:
    """`promtool test rules` on all of tests/alerts/cases."""
    files = sorted(root.glob("tests/alerts/cases/*.yml"))
    assert files
    out = tool("promtool", "test", "rules", *files)
    assert out.count("SUCCESS") == len(files)


def test_a_unit_test_sees_each_alert_fire_stay_inactive_and_resolve(names: set[str], cases: list[Yaml]) -> None:
    """No alert escapes: the list is read from the rules."""
    fires: set[str] = set()
    inactive: set[str] = set()
    resolves: set[str] = set()
    for case in cases:
        fired: set[str] = set()
        for check in case.get("alert_rule_test", []):
            name = check["alertname"]
            if check.get("exp_alerts"):
                fired.add(name)
            else:
                (resolves if name in fired else inactive).add(name)
        fires |= fired
    assert fires == inactive == resolves == names


def test_the_healthy_day_has_every_metric_that_a_rule_reads(
    rules: list[Yaml], root: Path, asks: Callable[[str], Any]
) -> None:
    """Else a rule would be inactive because it has no data."""
    day = (root / "tests/alerts/cases/day.yml").read_text()
    there = set(re.findall(r"series: '([\w:]+)", day))
    recorded = {rule["record"] for rule in rules if "record" in rule}
    asked = {metric for rule in rules for metric, _ in asks(rule["expr"]).selectors} - recorded
    variants = {"otelcol_receiver_refused_spans_total"}
    assert asked - there - variants == set()


def test_every_alert_has_a_runbook_with_commands_and_times_to_effect(root: Path, names: set[str]) -> None:
    """One page each, none left over, all with a summary and the same parts; links between them lead somewhere."""
    pages = {page.stem: page.read_text() for page in root.glob("alerts/runbooks/*.md")}
    assert set(pages) == names
    for name, text in pages.items():
        assert re.match(rf"# {name}\n\n[A-Z][^\n]{{20,120}}\.\n\n## ", text), name
        heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert heads == ["Meaning", "Impact", "Diagnosis", "Mitigation", "Verification", "False positives"], name
        parts = dict(zip(heads, re.split(r"^## .*$", text, flags=re.MULTILINE)[1:], strict=True))
        assert "```sh\n" in parts["Diagnosis"], name
        assert re.search(r"\d+ (s|min)\b|restart|deploy|next scrape", parts["Mitigation"]), name
        linked = set(re.findall(r"\]\((\w+)\.md\)", text))
        assert linked <= set(pages) - {name}, name


def test_a_runbook_states_the_wait_of_its_alert(root: Path, alerts: list[Yaml]) -> None:
    """The value of `for`, as a number of minutes or seconds, or that the alert fires immediately."""
    for rule in alerts:
        meaning = (root / f"alerts/runbooks/{rule['alert']}.md").read_text().split("## Impact")[0]
        number, unit = int(rule["for"][:-1]), {"s": "s", "m": "min"}[rule["for"][-1]]
        wait = rf"\b{number}\s{unit}\b" if number else r"fires\simmediately|[Ww]ithin\sthe\slast\s10\smin"
        assert re.search(wait, meaning), rule["alert"]


def test_every_alert_is_documented_with_its_times_and_severity(root: Path, alerts: list[Yaml]) -> None:
    """The table of docs/reference/alerts.md lists the rules in their order, no more and no fewer."""
    row = r"^\| `(\w+)` \| .* \| (\S+) \| (\S+) \| (\w+) \| \[runbook\]\(\.\./\.\./alerts/runbooks/(\w+)\.md\) \|$"
    rows = re.findall(row, (root / "docs/reference/alerts.md").read_text(), re.MULTILINE)
    assert rows == [
        (rule["alert"], rule["for"], rule.get("keep_firing_for", "–"), rule["labels"]["severity"], rule["alert"])
        for rule in alerts
    ]


def test_every_recording_rule_is_documented_and_named_level_metric_operations(root: Path, rules: list[Yaml]) -> None:
    """The third part is an operation; units are base units, in the metric."""
    text = (root / "docs/reference/alerts.md").read_text()
    for name in [rule["record"] for rule in rules if "record" in rule]:
        level, metric, operations = name.split(":")
        assert re.fullmatch(r"[a-z_]+", level + metric), name
        assert OPERATIONS.fullmatch(operations), name
        assert not re.search(r"minutes|hours|milliseconds|percent", metric), name
        assert f"`{re.sub('_rate(30m|.h|.d)$', '_rate5m', name)}`" in text, name


def test_names_have_the_prefix_and_one_condition_each(alerts: list[Yaml], names: set[str]) -> None:
    """Initialisms in capitals, at most 40 characters, and no name twice."""
    assert len(names) == len(alerts)
    for name in names:
        assert re.fullmatch(r"Foreshock([A-Z]+[a-z]+|[A-Z]{2,}(?=[A-Z]|$))+", name), name
        assert not re.search(r"Gpu|Xid|Kv|Llm|Slo(?!w)|Tcp|Nic|Rdma|Ecc", name), name
        assert len(name) <= 40, name


def test_a_summary_names_the_condition_and_its_entity_in_ten_words(alerts: list[Yaml], cases: list[Yaml]) -> None:
    """It is the title of a page in PagerDuty or Slack, so it is short, templated, and without a final period."""
    for rule in alerts:
        assert any(f"$labels.{entity}" in rule["annotations"]["summary"] for entity in ENTITIES), rule["alert"]
    checks = [check for case in cases for check in case.get("alert_rule_test", [])]
    shown = {fired["exp_annotations"]["summary"] for check in checks for fired in check.get("exp_alerts", [])}
    assert shown
    for summary in shown:
        assert len(summary.split()) <= 10, summary
        assert not re.search("[a-z]_[a-z]", summary), f"{summary}: a label's value"
        assert re.match(r"[A-Z]", summary), summary
        assert not summary.endswith("."), summary


def test_a_description_has_a_rounded_value_and_an_action(alerts: list[Yaml]) -> None:
    """Every $value is humanized or formatted; sentences are at most 30 words and lead to an imperative."""
    imperative = re.compile(
        r"\b(add|shed|cap|limit|open|check|restart|read|drain|reset|give|move|fix|free|raise|find|compare|run|request|"
        r"rate-limit|label)\b",
        re.IGNORECASE,
    )
    for rule in alerts:
        text = rule["annotations"]["description"]
        for use in re.findall(r"\{\{-? ?([^{}]*\$value[^{}]*)\}\}", text):
            assert re.match(r"humanize|printf|if ", use), rule["alert"]
        assert "{{" in text, rule["alert"]
        assert imperative.search(text), rule["alert"]


def test_links_lead_to_the_runbook_and_to_a_page_of_the_hub(alerts: list[Yaml]) -> None:
    """Both on an address that exists without a site of one's own."""
    for rule in alerts:
        notes = rule["annotations"]
        assert set(notes) == {"summary", "description", "runbook_url", "dashboard_url"}, rule["alert"]
        assert notes["runbook_url"] == f"{RUNBOOK_URL}/{rule['alert']}"
        assert re.match(
            rf"{HUB_URL}/(capacity|contention|cascade|fleet|services|traces|status)?($|\?|/)", notes["dashboard_url"]
        ), rule["alert"]
        assert "for" in rule, rule["alert"]


def test_labels_are_enumerations_and_identities(alerts: list[Yaml]) -> None:
    """Severity and role from a fixed list; alerts about a service also have namespace, service, and origin."""
    for rule in alerts:
        labels = rule["labels"]
        assert labels["severity"] in ("critical", "warning"), rule["alert"]
        assert labels["alert_role"] in ("cause", "effect"), rule["alert"]
        fixed = {"severity", "alert_role", "service", "service_name", "origin", "aggressor"}
        assert set(labels) <= fixed, rule["alert"]
        if "origin" in labels:
            assert "service" in labels, rule["alert"]
            assert '"namespace", "$1"' in rule["expr"] or re.search("incident:open|replicas_missing", rule["expr"])


def test_values_of_labels_that_rules_make_are_snake_case(rules: list[Yaml]) -> None:
    """Silences have to type them. A group within a value is `${1}`: after `$1`, letters count as part of its name."""
    label = r'"(?:reason|kind|direction|urgency)", "([^"(]+)"'
    made = [value for rule in rules for value in re.findall(label, rule["expr"])]
    assert len(made) > 8
    assert all(re.fullmatch(r"[a-z0-9_]*(\$\{1\}[a-z0-9_]*)?", value) for value in made if value != "$1")


def test_an_incident_alert_has_no_label_that_the_hub_may_correct(rules: list[Yaml], asks: Callable[[str], Any]) -> None:
    """Its series holds id, severity, and service; cause and suspect are read in the annotations."""
    (recorded,) = (rule for rule in rules if rule.get("record") == "incident:open:max")
    assert {metric for metric, _ in asks(recorded["expr"]).selectors} == {"foreshock_incident_open"}
    (alert,) = (rule for rule in rules if rule.get("alert") == "ForeshockIncident")
    assert {metric for metric, _ in asks(alert["expr"]).selectors} == {"incident:open:max"}
    assert "foreshock_incident_info" in alert["annotations"]["description"]


def test_every_cause_has_an_action_in_the_incident_alert_and_its_runbook(root: Path, alerts: list[Yaml]) -> None:
    """The enumeration of the model, no more and no less; the last one is the `else`."""
    (alert,) = (rule for rule in alerts if rule["alert"] == "ForeshockIncident")
    named = re.findall(r'eq \$cause "(\w+)"', alert["annotations"]["description"])
    assert {*named, "hardware"} == set(get_args(Cause))
    table = re.findall(r"^\| `(\w+)` \|", (root / "alerts/runbooks/ForeshockIncident.md").read_text(), re.MULTILINE)
    assert set(table) == set(get_args(Cause))


def test_a_comment_gives_the_reason_of_each_time(root: Path, alerts: list[Yaml]) -> None:
    """Above the rule for `for`, above it or at the head of the file for `keep_firing_for`."""
    explained = 0
    for file in root.glob("alerts/*.rules.yml"):
        text = file.read_text()
        assert ("keep_firing_for:" in text) <= ("keep_firing_for" in "".join(re.findall(r"^ *#.*", text, re.MULTILINE)))
        for comment, name, rule in re.findall(r"((?: +#.*\n)+) +- alert: (\w+)\n((?: {8,}.*\n|\n)+)", text):
            found = re.search(r"^ +for: (\w+)$", rule, re.MULTILINE)
            assert found
            assert re.search(rf"for {found[1]}\b", comment), f"{name}: for {found[1]}"
            explained += 1
    assert explained == len(alerts)


def test_no_label_holds_a_value_that_changes_while_the_alert_fires(alerts: list[Yaml]) -> None:
    """Otherwise every evaluation would start the alert again."""
    for rule in alerts:
        assert not any("$value" in str(value) for value in rule["labels"].values()), rule["alert"]


def test_no_label_is_made_of_a_template_that_may_expand_to_nothing(alerts: list[Yaml]) -> None:
    """In ALERTS, Prometheus would keep the template's text: it ends in a name that always exists."""
    named = r"\{\{ \$labels\.(service_name|aggressor_name|client|server) \}\}"
    for rule in alerts:
        for label, value in rule["labels"].items():
            assert "{{" not in value or re.search(named + "$", value), f"{rule['alert']}: {label}"


def test_a_cause_fires_no_later_than_its_effects_and_no_shorter(alerts: list[Yaml]) -> None:
    """Else the effects would be notified first, or be released while the cause is resolving."""
    about_services = [rule for rule in alerts if "origin" in rule["labels"]]
    causes = [rule for rule in about_services if rule["labels"]["alert_role"] == "cause"]
    effects = [rule for rule in about_services if rule["labels"]["alert_role"] == "effect"]
    assert causes
    assert effects
    assert max(_seconds(rule["for"]) for rule in causes) <= min(_seconds(rule["for"]) for rule in effects)
    assert min(_seconds(rule["keep_firing_for"]) for rule in causes) >= max(
        _seconds(rule["keep_firing_for"]) for rule in effects
    )


def test_xid_errors_have_the_severities_of_the_catalog(alerts: list[Yaml]) -> None:
    """Fatal ones are critical; those of applications, and informational ones, fire nothing."""
    critical, others = (
        set(map(int, re.findall(r"\d+", re.findall(r'xid[!=]~"([^"(]+)"', rule["expr"])[0])))
        for rule in alerts
        if rule["alert"].startswith("ForeshockGPUXID")
    )
    assert critical == xids_of("fatal")
    assert others == xids_of("fatal") | xids_of("application") | xids_of("informational")


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


@pytest.mark.parametrize("kind", [kind for kind in SlowBurnKind if kind not in SLOW_BURN_RUNBOOKS])
def test_an_alert_of_a_slow_burn_has_the_action_of_its_notification(alerts: list[Yaml], kind: SlowBurnKind) -> None:
    """One of the hub and one of Alertmanager must not advise differently."""
    (rule,) = [rule for rule in alerts if rule["alert"] == "ForeshockResourceFillingUp"]
    assert SLOW_BURN_ACTIONS[kind] in " ".join(rule["annotations"]["description"].split())
