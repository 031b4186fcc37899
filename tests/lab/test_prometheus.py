"""Configuration of the laboratory's Prometheus."""

from __future__ import annotations

import re

import pytest

from foreshock_lab.commands.check import EXPECTED
from foreshock_lab.system.prometheus import DROPPED_SERIES, KEPT, Target, configuration


@pytest.mark.parametrize("metric", EXPECTED)
def test_metrics_that_the_check_expects_are_kept(metric: str) -> None:
    assert re.fullmatch(KEPT, metric)


@pytest.mark.parametrize("metric", ["go_goroutines", "pg_settings_work_mem_bytes", "redis_uptime_in_seconds"])
def test_other_metrics_of_exporters_are_not_kept(metric: str) -> None:
    assert not re.fullmatch(KEPT, metric)


@pytest.mark.parametrize(
    ("labels", "dropped"),
    [
        ("pg_stat_activity_count;template1;", True),
        ("pg_locks_count;;", True),
        ("redis_db_keys;;db7", True),
        ("pg_stat_activity_count;postgres;", False),
        ("redis_db_keys;;db0", False),
    ],
)
def test_series_about_unused_databases_are_dropped(labels: str, dropped: bool) -> None:
    assert bool(re.fullmatch(DROPPED_SERIES, labels)) is dropped


def test_replicas_are_targets_of_one_job() -> None:
    targets = [Target("cart", f"127.0.10.1:{port}", {"pod": f"cart-{port}"}) for port in (9100, 9101)]
    (job,) = configuration(targets, 10.0)["scrape_configs"]
    assert job["job_name"] == "cart"
    assert [item["labels"]["pod"] for item in job["static_configs"]] == ["cart-9100", "cart-9101"]
