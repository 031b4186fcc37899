"""Recorded series give the World of the queries that they are results of."""

from __future__ import annotations

import re
import shutil
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import yaml
from tests.sources.prometheus.conftest import T0, Server
from tests.sources.prometheus.test_kept_series import BEGIN, POINTS, STEP, worlds, write_fleet
from tests.world.test_builder import check

from foreshock_dashboard.model.query import Query
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
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


def test_every_heavy_reading_of_the_catalog_has_a_rule() -> None:
    """Also by cluster. Other labels, windows, and conditions have none."""
    with closing(RecordedSource("http://prom")) as source:
        source.present = frozenset(RULES)
        for key in HEAVY:
            query = catalog(WINDOW_SECONDS)[key].ways[0].query
            assert query.by
            assert source.recorded(query)
            assert source.recorded(replace(query, by=(*query.by, "cluster")))
            assert not source.recorded(replace(query, by=(*query.by, "span_name")))
            assert not source.recorded(replace(query, window=119.0))
        assert not source.recorded(Query("traces_span_metrics_calls_total", by=("service_name",), reduce="rate"))


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
        assert source.present == RULES.keys()
    assert len(one.edges) == 12
