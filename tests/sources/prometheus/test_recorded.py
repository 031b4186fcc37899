"""Recorded series give the World of the queries that they are results of."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml
from tests.sources.prometheus.conftest import T0, Server
from tests.sources.prometheus.test_kept_series import BEGIN, POINTS, STEP, worlds, write_fleet
from tests.world.test_builder import check

from foreshock_dashboard.model.query import Query
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.sources.prometheus import recorded
from foreshock_dashboard.sources.prometheus.api import PrometheusSource
from foreshock_dashboard.sources.prometheus.promql import promql
from foreshock_dashboard.sources.prometheus.recorded import RULES, WINDOW_SECONDS, RecordedSource
from foreshock_dashboard.world.builder import catalog

FILE = Path(__file__).parents[3] / "alerts" / "fleet" / "hub_queries.rules.yml"
HEAVY = ("served", "served_failed", "served_seconds", "calls", "calls_failed", "client_seconds", "server_seconds")


def squeezed(expression: str) -> str:
    """Without spaces."""
    return re.sub(r"\s", "", expression).replace("59s", "59000ms")


def test_each_rule_has_the_expression_that_the_hub_sends() -> None:
    rules = {rule["record"]: rule["expr"] for rule in yaml.safe_load(FILE.read_text())["groups"][0]["rules"]}
    assert {name: squeezed(text) for name, text in rules.items()} == {
        name: squeezed(promql(query)) for name, query in RULES.items()
    }


def test_a_changed_expression_has_another_name() -> None:
    """Servers keep evaluating an older file. For another expression, rename the rule, and then change this digest."""
    text = "".join(f"{name} {promql(query)}\n" for name, query in sorted(RULES.items()))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "fcc4d791837f9fce"


def test_every_heavy_reading_of_the_catalog_has_a_rule() -> None:
    """Also by cluster. Other labels, windows, and conditions have none."""
    with closing(RecordedSource("http://prom")) as source:
        source.agreed_since = dict.fromkeys(RULES, 100.0)
        for key in HEAVY:
            query = catalog(WINDOW_SECONDS)[key].ways[0].query
            assert query.by
            assert source.rule(query, 100.0, STEP)
            assert source.rule(replace(query, by=(*query.by, "cluster")), 100.0, STEP)
            assert not source.rule(replace(query, by=(*query.by, "span_name")), 100.0, STEP)
            assert not source.rule(replace(query, window=119.0), 100.0, STEP)
            assert not source.rule(query, 99.0, STEP), "before the rules agreed with what they record"
            assert not source.rule(query, 100.0, STEP / 2), "more often than rules are evaluated"
        unconditional = Query("traces_span_metrics_calls_total", by=("service_name",), reduce="rate")
        assert not source.rule(unconditional, 100.0, STEP)


def test_promtool_records_what_each_expression_says(tmp_path: Path) -> None:
    """`promtool test rules`, with two Collectors and two operations of each service."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed; `make setup-tests` installs it")
    edge = 'client="a",server="b",client_service_namespace="n",server_service_namespace="n"'
    span = 'service_name="a",service_namespace="n",span_kind="SPAN_KIND_SERVER"'
    series = []
    for query in RULES.values():
        labels = edge if query.metric.startswith("traces_service_graph") else span
        for operation, step in (("x", 3), ("y", 5)):
            for le, factor in (("0.1", 1), ("+Inf", 2)) if query.reduce == "buckets" else (("", 1),):
                more = f'le="{le}",' if le else ""
                name = f'{query.series_name}{{{more}{labels},span_name="{operation}",status_code="STATUS_CODE_ERROR"}}'
                series.append({"series": name, "values": f"0+{step * factor}x20"})
    tests = [
        {"expr": f"count({name} == {promql(query)})", "eval_time": "2m"}
        | {"exp_samples": [{"labels": "{}", "value": 2 if query.reduce == "buckets" else 1}]}
        for name, query in RULES.items()
    ]
    unique = list({one["series"]: one for one in series}.values())
    case = {"interval": "10s", "input_series": unique, "promql_expr_test": tests}
    case_file = tmp_path / "case.yml"
    case_file.write_text(yaml.safe_dump({"rule_files": [str(FILE)], "evaluation_interval": "10s", "tests": [case]}))
    done = subprocess.run(["promtool", "test", "rules", case_file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def record(server: Server, first: int) -> None:
    """Write what the rules would, from a grid point on."""
    for name, query in RULES.items():
        times = {"start": T0 + first * STEP, "end": T0 + (POINTS - 1) * STEP, "step": STEP}
        answer = httpx.post(f"{server.url}/api/v1/query_range", data={"query": promql(query), **times}).json()
        server.write(
            SampleBatch(float(at), "rules", (Sample(name, labels_of(one["metric"]), float(value)),))
            for one in answer["data"]["result"]
            for at, value in one["values"]
        )


@pytest.mark.parametrize("first", [0, BEGIN + 3], ids=["always", "since the rules were added"])
def test_a_world_of_recorded_series_is_that_of_the_queries(own_prometheus: Server, first: int) -> None:
    """Within the rounding of sums."""
    write_fleet(own_prometheus)
    record(own_prometheus, first)
    with closing(PrometheusSource(own_prometheus.url)) as plain, closing(RecordedSource(own_prometheus.url)) as source:
        for one, other in zip(worlds(source), worlds(plain), strict=True):
            check(one, other, tolerance=1e-9)
        assert source.used == RULES.keys()
    assert len(one.edges) == 12


SERVED = "service:hub_served:rate59s"


def write_clusters(server: Server, first: int, last: int, *rules: tuple[str, str]) -> None:
    """Requests of one service in each of two clusters. rules: (cluster, external label) of those that record."""
    span = {"service_name": "a", "span_kind": "SPAN_KIND_SERVER"}
    batches = []
    for at in range(first, last + 1, 10):
        samples = [
            Sample("traces_span_metrics_calls_total", labels_of(span | {"cluster": cluster}), float(at))
            for cluster in ("eu", "us")
        ] + [
            Sample(SERVED, labels_of({"service_name": "a", "cluster": cluster, "prometheus": replica}), 1.0)
            for cluster, replica in rules
        ]
        batches.append(SampleBatch(float(T0 + at), "rules", tuple(samples)))
    server.write(batches)


def test_rules_of_one_cluster_do_not_hide_the_services_of_another(
    own_prometheus: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor do two evaluators of the same rules double the rates."""
    query = replace(RULES[SERVED], by=("service_name", "cluster"))
    phases: tuple[tuple[tuple[str, str], ...], ...] = (
        (("eu", "1"),),
        (("eu", "1"), ("us", "1")),
        (("eu", "1"), ("us", "1"), ("us", "2")),
    )
    used = []
    caplog.set_level("INFO", recorded.__name__)
    with closing(RecordedSource(own_prometheus.url)) as source:
        for phase, rules in enumerate(phases):
            end = T0 + 120.0 * (phase + 1)
            write_clusters(own_prometheus, 120 * phase + 10 * bool(phase), 120 * (phase + 1), *rules)
            source.names_between(T0, end)
            [answer] = source.fetch_all([query], end, end, STEP)
            assert answer.values.ravel().tolist() == pytest.approx([1.0, 1.0])
            source.names_between(T0, T0 + 60.0)  # a page of the past changes nothing
            used.append(source.used)
    assert used == [set(), {SERVED}, set()]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING"]


def test_an_answer_with_a_gap_is_read_from_the_queries(own_prometheus: Server) -> None:
    """The rules failed for a minute that the hub reads afterwards."""
    query = replace(RULES[SERVED], by=("service_name", "cluster"))
    write_clusters(own_prometheus, 0, 120, ("eu", "1"), ("us", "1"))
    write_clusters(own_prometheus, 130, 180)
    write_clusters(own_prometheus, 190, 240, ("eu", "1"), ("us", "1"))
    with closing(RecordedSource(own_prometheus.url)) as source:
        source.agreed_since = {SERVED: T0 + 0.0}
        [answer] = source.fetch_all([query], T0 + 100.0, T0 + 240.0, STEP)
        assert answer.values == pytest.approx(np.ones((2, 15)))
        assert not source.used
