"""Contention lists the resources besides SM time at whose limit services wait, with their bounds, and only then."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from tests.web.caller import Caller
from tests.web.pages.test_web_fleet import Counted
from tests.web.worlds import FakeHub, NoMetrics, contended, healthy_world, snapshot

from foreshock_dashboard.model.query import Matrix, Query, SourceError
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.pages.contention.data import contention
from foreshock_dashboard.web.pages.contention.limits import LimitReader, read_limits

Rows = list[tuple[dict[str, str], float]]
LOST, SATURATED = "gpu_service_resource_wait_seconds_total", "gpu_resource_saturated_seconds_total"
OF_SERVICES = (
    "gpu_service_cpu_waiting_seconds_total",
    "gpu_service_cpu_throttled_seconds_total",
    "gpu_service_host_io_waiting_seconds_total",
    "gpu_service_host_memory_waiting_seconds_total",
)


def on(service: str, uuid: str = "GPU-0-0", **labels: str) -> dict[str, str]:
    """Labels of a series of a service of the test's World."""
    return {"instance": "host-0:1", "uuid": uuid, "service_namespace": "", "service_name": service, **labels}


def source(**more: Rows) -> Counted:
    """Embedder shares DRAM at its limit with train-llm, and little else."""
    series: dict[str, Rows] = {
        LOST: [
            (on("embedder", resource="dram"), 0.38),
            (on("embedder", resource="pcie"), 0.04),
            (on("train-llm", resource="dram"), 0.52),
            (on("unknown", resource="dram"), 0.9),
            (on("train-llm", "GPU-9-9", resource="power"), 0.9),
        ],
        SATURATED: [({"instance": "host-0:1", "uuid": "GPU-0-0", "resource": "dram"}, 0.96)],
        "gpu_service_cpu_waiting_seconds_total": [(on("embedder"), 0.31), (on("train-llm"), 0.01)],
        "gpu_service_cpu_throttled_seconds_total": [(on("embedder"), 1.4)],
        "gpu_service_host_io_waiting_seconds_total": [(on("embedder"), 0.27), (on("train-llm"), 0.049)],
        "gpu_service_host_memory_waiting_seconds_total": [(on("train-llm"), 0.06)],
        "gpu_host_cpu_steal_seconds_total": [({"instance": "host-0:1"}, 0.02)],
        "target_info": [({"instance": f"host-{n}:1", "host_name": f"host-{n}"}, 1.0) for n in range(3)],
        **more,
    }
    return Counted(series=series)


def page(hub: FakeHub, victim: str = "", aggressor: str = "") -> Json:
    body: Json = json.loads(json.dumps(contention(hub.snapshot, victim, aggressor, LimitReader(hub)), default=vars))
    return body


def test_each_loss_has_its_resource_place_bound_and_neighbors() -> None:
    rows = read_limits(source(), contended())
    assert [
        (row.service, row.name, row.place, row.saturated_ratio, row.wait_ratio, row.shared_with) for row in rows
    ] == [
        ("embedder", "CPU limit", "host-0", None, 1.0, []),
        ("train-llm", "DRAM bandwidth", "host-0/gpu-0", 0.96, 0.52, ["embedder"]),
        ("embedder", "DRAM bandwidth", "host-0/gpu-0", 0.96, 0.38, ["train-llm"]),
        ("embedder", "CPU time", "host-0", None, 0.31, []),
        ("embedder", "storage", "host-0", None, 0.27, []),
        ("train-llm", "host memory", "host-0", None, 0.06, []),
    ]


def test_an_open_pair_has_those_of_its_affected_service() -> None:
    hub = FakeHub(snapshot(contended()), metrics=source())
    assert {row["service"] for row in page(hub)["limits"]["rows"]} == {"embedder", "train-llm"}
    assert {row["service"] for row in page(hub, "embedder", "train-llm")["limits"]["rows"]} == {"embedder"}


@pytest.mark.parametrize(
    ("case", "series"),
    [
        ("no exporter reports them", {LOST: [], **{metric: [] for metric in OF_SERVICES}}),
        (
            "no loss matters",
            {
                LOST: [(on("embedder", resource="dram"), 0.049)],
                **{metric: [(on("embedder"), 0.049)] for metric in OF_SERVICES},
            },
        ),
    ],
)
def test_without_losses_that_matter_there_is_no_row_and_nothing_more_is_read(
    case: str, series: Mapping[str, Rows]
) -> None:
    counted = source(**series)
    asked: list[str] = []

    class Noted(NoMetrics):
        def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
            asked.append(query.metric)
            return counted.fetch(query, start, end, step)

    assert read_limits(Noted(), healthy_world()) == (), case
    assert set(asked) == {
        LOST,
        *OF_SERVICES,
        "gpu_host_cpu_steal_seconds_total",
    }


def test_cpu_steal_is_a_loss_of_each_service_on_a_gpu_of_the_host() -> None:
    steal: Rows = [({"instance": "host-2:1"}, 0.11)]
    rows = read_limits(source(gpu_host_cpu_steal_seconds_total=steal), contended())
    assert [(row.service, row.place, row.wait_ratio) for row in rows if row.resource == "steal"] == [
        ("train-llm", "host-2", 0.11),
        ("vllm-8b", "host-2", 0.11),
    ]


def test_a_bound_without_the_time_at_the_limit_stays() -> None:
    (row, *_) = [row for row in read_limits(source(**{SATURATED: []}), contended()) if row.resource == "dram"]
    assert (row.saturated_ratio, row.wait_ratio) == (None, 0.52)


def test_a_source_that_cannot_answer_costs_only_these_rows() -> None:
    class Broken(NoMetrics):
        def fetch(self, *_: object, **__: object) -> Matrix:
            raise SourceError("prometheus:9090: connection refused")

    hub = FakeHub(snapshot(contended()), metrics=Broken())
    body, listed = page(hub), Caller(create_app(hub, version="0")).get("/api/contention").json()
    assert body["limits"] == {"rows": [], "hidden": 0, "error": "prometheus:9090: connection refused"}
    assert body["pairs"]
    assert listed["limits"] is None
    assert listed["pairs"]


def test_the_list_of_waits_has_them_too() -> None:
    app = Caller(create_app(FakeHub(snapshot(contended()), metrics=source()), version="0"))
    rows = app.get("/api/contention").json()["limits"]
    assert [row["resource"] for row in rows] == ["cpu_limit", "dram", "dram", "cpu", "storage", "host_memory"]
    assert rows[1]["step"] == "Move one of the services to another GPU."
