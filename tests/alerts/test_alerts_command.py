"""`foreshock generate rules`: the rules for a fleet's Prometheus, with its addresses, jobs, groups, and SLOs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from foreshock_dashboard.cli.main import main
from foreshock_dashboard.ingest.span_metrics.histogram import BUCKET_BOUNDS
from foreshock_dashboard.render.rules.rule_files import GROUPS
from foreshock_dashboard.render.rules.slo_rules import bucket_bound, slo_rule_groups

Yaml = dict[str, Any]
HUB = "https://hub.example.com/foreshock"
SITE = "https://docs.example.com/runbooks"


def written(out: Path, *words: str) -> dict[str, str]:
    """What the command writes, by name."""
    assert main(["generate", "rules", "--output-dir", str(out), *words]) == 0
    return {file.name: file.read_text() for file in out.iterdir()}


def test_every_link_leads_to_the_hub_that_was_named(root: Path, tmp_path: Path) -> None:
    """And nothing else is changed."""
    files = written(tmp_path / "new" / "folder", "--hub-url", HUB + "/")
    shipped = {file.name: file.read_text() for file in root.glob("alerts/*.yml")}
    assert {name: text.replace(HUB, "http://127.0.0.1:8050") for name, text in files.items()} == shipped
    assert sum(text.count(HUB) for text in files.values()) > 8  # anchors repeat them
    assert {f"{group}.rules.yml" for group in (*GROUPS, "services")} == {name for name in files if ".rules." in name}


def test_rules_of_several_clusters_read_and_link_to_the_cluster_of_the_alert(
    tmp_path: Path, tool: Callable[..., str]
) -> None:
    """Equal names of services and hosts are in each."""
    files = written(tmp_path, "--by-cluster", "k8s_cluster")
    rules = {name: text for name, text in files.items() if name.endswith(".rules.yml")}
    tool("promtool", "check", "rules", *(str(tmp_path / name) for name in rules))
    annotations = [
        text
        for rule_file in rules.values()
        for group in yaml.safe_load(rule_file)["groups"]
        for rule in group["rules"]
        for text in rule.get("annotations", {}).values()
    ]
    queries = [text for text in annotations if "| query" in text and "id=%q" not in text]
    links = [text for text in annotations if re.search(r"/services/|victim=|gpu=", text)]
    assert len(queries) > 5
    assert all(re.search(r'printf "[\w(]+{k8s_cluster=%q,.*?" +\$labels\.k8s_cluster ', text) for text in queries)
    assert len(links) > 10
    assert all("{{ with $labels.k8s_cluster }}" in text for text in links)


def test_runbooks_lead_to_the_prefix_that_was_named(tmp_path: Path) -> None:
    """By default to the hub that was named, which serves them."""
    files = written(tmp_path / "a", "--hub-url", HUB)
    links = re.findall(r"runbook_url: (\S+)/Foreshock\w+", "".join(files.values()))
    assert set(links) == {HUB + "/runbooks"}
    files = written(tmp_path / "b", "--hub-url", HUB, "--runbook-url", SITE)
    links = re.findall(r"runbook_url: (\S+)/Foreshock\w+", "".join(files.values()))
    assert set(links) == {SITE}


def test_rules_watch_the_jobs_that_were_named(tmp_path: Path) -> None:
    """Such as those that the Prometheus operator makes of a PodMonitor."""
    files = written(tmp_path, "--job-hub", "monitoring/hub", "--job-exporter", "monitoring/exporter")
    rules = files["exporter.rules.yml"] + files["hub.rules.yml"]
    assert set(re.findall(r'job="([^"]+)"', rules)) == {"monitoring/hub", "monitoring/exporter"}


def test_an_operator_gets_all_rules_but_that_of_early_warnings(tmp_path: Path) -> None:
    """Its Alertmanager has no route that keeps them from notifying."""
    (text,) = written(tmp_path / "operator", "--operator").values()
    files = {name: file for name, file in written(tmp_path / "files").items() if name.endswith(".rules.yml")}
    shipped = [group for file in files.values() for group in yaml.safe_load(file)["groups"]]
    names, given = (
        [rule.get("alert") or rule["record"] for group in groups for rule in group["rules"]]
        for groups in (shipped, yaml.safe_load(text)["spec"]["groups"])
    )
    assert sorted(given) == sorted(name for name in names if name != "ForeshockEarlyWarning")
    assert len(given) == len(names) - 1


@pytest.mark.parametrize("group", GROUPS)
def test_each_group_can_be_left_out_and_the_others_still_have_what_they_read(group: str, tmp_path: Path) -> None:
    """Also the file of a group that was written before."""
    assert f"{group}.rules.yml" in written(tmp_path)
    files = written(tmp_path, "--without", group)
    assert f"{group}.rules.yml" not in files
    rules = [
        rule
        for name, text in files.items()
        if name.endswith(".rules.yml")
        for part in yaml.safe_load(text)["groups"]
        for rule in part["rules"]
    ]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    read = {name for rule in rules for name in re.findall(r"\b[a-z_]+:[a-z_]+:[a-z0-9_]+\b", rule["expr"])}
    assert read - recorded == (
        set() if group == "slo" else {"service:slo_violations:rate5m", "service:slo_error_budget:ratio"}
    )


def test_slos_are_accepted_by_prometheus_and_overwritten(tmp_path: Path, tool: Callable[..., str]) -> None:
    """Of services with a namespace and without, with odd names; the second time the file is another one."""
    first = written(tmp_path, "--slo", 'serving/chat=20s:1%,odd"name\\d=250ms:0%,größe=5m')
    out = tool("promtool", "check", "rules", "--lint=all", "--lint-fatal", *tmp_path.glob("*.rules.yml"))
    assert "SUCCESS" in out
    second = written(tmp_path, "--slo", "serving/chat=10s")
    assert first["slo_targets.rules.yml"] != second["slo_targets.rules.yml"]
    assert "odd" not in second["slo_targets.rules.yml"]


def test_the_rules_of_slos_can_be_written_alone(tmp_path: Path) -> None:
    """For a PrometheusRule that has the others, such as the chart's; files of before stay."""
    every = written(tmp_path / "all", "--slo", "serving/chat=20s")
    (text,) = written(tmp_path / "alone", "--slo-only", "--slo", "b=1s").values()
    groups = yaml.safe_load(text)["groups"]
    assert [group["name"] for group in groups] == ["foreshock-slo-b"]
    assert written(tmp_path / "all", "--slo-only", "--slo", "serving/chat=20s") == every


def test_a_fleet_without_a_hub_keeps_the_alerts_about_exporters_and_spans(tmp_path: Path) -> None:
    """And one without exporters those about the hub; the name of the group in the file is accepted as well."""
    known = {"HubDown", "ExporterDown", "ExporterMockData", "SpansDropped"}

    def kept(group: str) -> set[str]:
        text = "".join(written(tmp_path / group, "--without", group).values())
        return {name for name in known if f"alert: Foreshock{name}" in text}

    assert kept("hub") == kept("foreshock-hub") == known - {"HubDown"}
    assert kept("exporter") == known - {"ExporterDown", "ExporterMockData"}


@pytest.mark.parametrize("old", ["objectives.rules.yml", "foreshock.rules.yml"])
def test_rule_files_of_0_1_are_removed(tmp_path: Path, old: str) -> None:
    """Prometheus loads *.rules.yml, and two files would count each SLO, or raise each alert, twice."""
    (tmp_path / old).write_text("groups: []\n")
    (tmp_path / "own.rules.yml").write_text("groups: []\n")
    files = written(tmp_path, "--slo", "serving/chat=10s")
    assert {"own.rules.yml", "slo_targets.rules.yml"} <= files.keys()
    assert old not in files


def test_slos_come_from_the_options_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its variable and its file."""
    monkeypatch.setenv("FORESHOCK_SLO", "chat=20s")
    assert 'service_name="chat"' in written(tmp_path / "a")["slo_targets.rules.yml"]
    monkeypatch.delenv("FORESHOCK_SLO")
    (tmp_path / "hub.yaml").write_text("slo: code=20s\nport: 0\n")
    assert (
        'service_name="code"'
        in written(tmp_path / "b", "--config", str(tmp_path / "hub.yaml"))["slo_targets.rules.yml"]
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--slo", "chat=10m"], "a p95 of 600 s is above the last bucket bound, 300 s; lower it"),
        (["--slo", "chat=1s,chat=2s"], "chat has two SLOs; keep one"),
        (["--slo-only"], "--slo-only: requires an SLO. Set --slo NAME=P95"),
        (["--slo-only", "--operator", "--slo", "chat=1s"], "in any PrometheusRule. Remove --operator."),
        (["--slo", "chat"], "--slo: 'chat' is not a valid SLO; use NAME=P95[:ERROR_RATE]"),
        (["--without", "gpu"], "--without: 'gpu' contains the unknown group 'gpu'; use capacity, cascade"),
        (["--hub-url", "nowhere"], "--hub-url: 'nowhere'"),
        (
            ["--latency-buckets", "1,two"],
            "--latency-buckets: '1,two' is not a valid bucket list; use comma-separated seconds such as 0.1,0.5,2.5",
        ),
        (["--latency-buckets", "0,1"], "contains a bound of 0 s or less"),
    ],
)
def test_a_bad_option_is_refused_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """Exit code 2, and nothing is written."""
    assert main(["generate", "rules", "--output-dir", str(tmp_path / "out"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1."""
    (tmp_path / "file").write_text("")
    assert main(["generate", "rules", "--output-dir", str(tmp_path / "file")]) == 1
    assert f"{tmp_path / 'file'}: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "bound"), [(0.001, 0.005), (0.25, 0.28), (18.0, 18.0), (20.0, 25.0), (300.0, 300.0)]
)
def test_an_slo_counts_as_the_next_bound_above_it(seconds: float, bound: float) -> None:
    """No sooner is a request late."""
    assert bucket_bound(seconds, BUCKET_BOUNDS) == bound


SPANS = "traces_span_metrics"
KIND = 'span_kind="SPAN_KIND_SERVER"'


@pytest.mark.parametrize(
    ("bucket", "name", "calls", "bounds"),
    [
        (f"{SPANS}_duration_seconds_bucket", "service_name", f"{SPANS}_calls_total", ("25.0", "+Inf")),
        (f"{SPANS}_duration_seconds_bucket", "service_name", f"{SPANS}_calls_total", ("25", "+Inf")),
        (f"{SPANS}_duration_milliseconds_bucket", "service_name", f"{SPANS}_calls_total", ("25000", "+Inf")),
        ("traces_spanmetrics_latency_bucket", "service", "traces_spanmetrics_calls_total", ("25", "+Inf")),
    ],
)
def test_what_is_written_counts_late_and_failed_requests(
    root: Path, tmp_path: Path, tool: Callable[..., str], bucket: str, name: str, calls: str, bounds: tuple[str, ...]
) -> None:
    """One request a second, half of them late and a tenth failed, by any counter; not those of a namesake.

    Counters restart on the way.
    """
    (tmp_path / "slo_targets.rules.yml").write_text(
        yaml.safe_dump({"groups": slo_rule_groups([("a/chat", 20.0, 0.01)])})
    )

    def of(service: str, namespace: str, **more: str) -> str:
        labels = {name: service, "service_namespace": namespace, **more}
        return ",".join([KIND, *(f'{label}="{value}"' for label, value in labels.items())])

    def series(metric: str, labels: str, step: float) -> Yaml:
        return {"series": f"{metric}{{{labels}}}", "values": f"0+{step}x19 0+{step}x40"}  # a restart

    given = [
        series(calls, of("chat", "a", status_code="STATUS_CODE_UNSET"), 27),
        series(calls, of("chat", "a", status_code="STATUS_CODE_ERROR"), 3),
        series(bucket, of("chat", "a", le=bounds[0]), 15),
        series(bucket, of("chat", "a", le=bounds[1]), 30),
        series(calls, of("chat", "b", status_code="STATUS_CODE_ERROR"), 30),
        series(bucket, of("chat", "b", le=bounds[1]), 30),
    ]
    labels = '{service_name="chat",service_namespace="a",sli="%s"}'
    expected = [
        {"labels": labels % "availability", "value": 10.0},  # 10% of at most 1%
        {"labels": labels % "latency", "value": 10.0},  # 50% of at most 5%
    ]
    case = {
        "interval": "30s",
        "input_series": given,
        "promql_expr_test": [
            {"expr": f"round({burn}, 0.01)", "eval_time": "20m", "exp_samples": expected}
            for burn in ("service:slo_burn_rate:ratio_rate5m", "service:slo_burn_rate:ratio_rate3d")
        ],
    }
    files = [*(str(root / f"alerts/{name}.rules.yml") for name in ("services", "slo")), "slo_targets.rules.yml"]
    order = ["foreshock-services", "foreshock-slo-a/chat", "foreshock-slo"]
    test = {"rule_files": files, "evaluation_interval": "30s", "group_eval_order": order, "tests": [case]}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    assert "SUCCESS" in tool("promtool", "test", "rules", tmp_path / "test.yml")


def test_the_slo_of_a_service_in_a_cluster_is_of_the_label_of_clusters() -> None:
    """Of `cluster` where no other one is named."""
    for label, expected in (("", "cluster"), ("k8s_cluster_name", "k8s_cluster_name")):
        (group,) = slo_rule_groups([("eu//a/chat", 20.0, 0.01)], cluster_label=label)
        text = yaml.safe_dump(group)
        assert set(re.findall(r'(\w+)=\\?"eu\\?"', text)) == {expected}
        rules = group["rules"]
        assert isinstance(rules, list)
        assert {rule["labels"][expected] for rule in rules} == {"eu"}
