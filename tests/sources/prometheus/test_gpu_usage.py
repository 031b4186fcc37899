"""Who holds which GPU, and how it is used, from samples: turnover, MIG, dcgm-exporter, and Deployments."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from foreshock_dashboard.analysis.cost.report import cost_report
from foreshock_dashboard.model.cost.ledger import CostLedger, Figure
from foreshock_dashboard.model.cost.prices import NO_PRICES
from foreshock_dashboard.model.query import Matrix, MetricSource, Query, SourceError
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.replay.cost_history import CostHistory
from foreshock_dashboard.replay.gpu_usage import mig_fraction
from foreshock_dashboard.store import Store

END = 1_796_040_000.0
Add = Callable[..., None]
"""Adds a sample: metric, value, and labels."""
Fill = Callable[[Add, float], None]
"""Adds the samples of a scrape, by seconds since the first."""
EXPORTER, DCGM, KUBE = "foreshock-exporter", "dcgm-exporter", "kube-state-metrics"


def hours_of(store: Store, fill: Fill, hours: int, step: float = 120.0, job: str = EXPORTER) -> CostLedger:
    """The ledger of a source with these samples."""
    start, batches = END - hours * 3600, list[SampleBatch]()
    for time in np.arange(start, END + step, step).tolist():
        samples: list[Sample] = []

        def add(metric: str, value: float, of: str = job, /, **labels: str) -> None:
            samples.append(Sample(metric, labels_of({"job": of, "instance": "n1:1", **labels}), float(value)))  # noqa: B023  # called at once

        add("up", 1)
        fill(add, time - start)
        batches.append(SampleBatch(time, "n1:1", tuple(samples)))
    store.append_samples(batches)
    return read(store)


def read(source: MetricSource) -> CostLedger:
    """All hours."""
    history = CostHistory(source, hours=3)
    for _ in history.read(END):
        pass
    return history.ledger


def minutes(ledger: CostLedger, *figures: Figure) -> dict[str, tuple[float, ...]]:
    """Figures of the newest hour by service or holding, in minutes of a GPU."""
    hour = ledger.hours[END - 3600]
    return {
        str(key.service.name if key.service else key.holding): tuple(round(row[figure] / 60, 1) for figure in figures)
        for key, row in zip(hour.keys, hour.values.tolist(), strict=True)
    }


def gpu(index: int = 0) -> dict[str, str]:
    """Labels of a GPU."""
    return {"gpu": str(index), "uuid": f"GPU-{index}"}


def allocate(add: Add, pod: str, index: int = 0, mig: str = "") -> None:
    """A pod's GPU, as the kubelet reports it."""
    add(
        "gpu_allocation_info", 1, mig_uuid=mig, k8s_namespace_name="ml", k8s_pod_name=pod,
        k8s_container_name="main", **gpu(index),
    )  # fmt: skip


def idle_gpu(add: Add, index: int = 0) -> None:
    """A GPU of a kubelet that runs no kernel."""
    add("gpu_allocatable_devices", 8, resource="nvidia.com/gpu")
    add("gpu_info", 1, model="NVIDIA H100 80GB HBM3", **gpu(index))
    add("gpu_busy_seconds_total", 0, **gpu(index))


def turnover(add: Add, t: float) -> None:
    """One job after another."""
    idle_gpu(add)
    minute = t % 3600 / 60
    if not 29 < minute <= 40:
        allocate(add, "job-a-0" if 0 < minute <= 29 else "job-b-0")


def mig(add: Add, _: float) -> None:
    """Instances without counters of use: NVML has none for them."""
    add("gpu_allocatable_devices", 3, resource="nvidia.com/mig-1g")
    add("gpu_info", 1, model="NVIDIA A100-SXM4-80GB", **gpu())
    add("gpu_memory_total_bytes", 85_899_345_920, **gpu())
    for name in ("a", "b"):
        add("gpu_mig_info", 1, mig_uuid=f"MIG-{name}", profile="3g.40gb", **gpu())
        allocate(add, f"{name}-0", mig=f"MIG-{name}")


def dcgm(add: Add, t: float) -> None:
    """Two pods on a busy GPU; one on a GPU that idles in the minutes around each step."""
    for index, pods, ratio in ((0, "ab", 90), (1, "c", 0 if t % 600 < 60 else 95)):
        for pod in pods:
            labels = {"UUID": f"GPU-{index}", "gpu": str(index), "modelName": "NVIDIA A100", "Hostname": "n1"}
            labels |= {"exported_pod": f"{pod}-0", "exported_namespace": "ml", "exported_container": "main"}
            add("DCGM_FI_DEV_GPU_UTIL", ratio, **labels)
            add("DCGM_FI_DEV_FB_USED", 20_000, **labels)
            add("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 300_000 * t, **labels)


def test_a_pod_holds_its_gpu_while_it_is_seen(fresh_store: Callable[[], Store]) -> None:
    """Not for the whole hour at whose end it runs, nor after it is gone."""
    found = minutes(hours_of(fresh_store(), turnover, 2), Figure.ALLOCATED)

    assert found == {"job-a": (30,), "job-b": (20,), "unallocated": (10,)}


def restarted(add: Add, t: float) -> None:
    """An idle GPU whose exporter has another address from the last half hour on."""

    def at(metric: str, value: float, of: str = EXPORTER, /, **labels: str) -> None:
        add(metric, value, of, **{"instance": "n1:1" if t <= 5400 else "n1:2", **labels})

    at("up", 1)
    idle_gpu(at)
    at("gpu_service_busy_seconds_total", 0.25 * (t if t <= 5400 else t - 5400), service_name="job", **gpu())


def test_a_gpu_whose_exporter_restarts_at_another_address_stays_one(fresh_store: Callable[[], Store]) -> None:
    """It is reported by two targets in this hour."""
    found = minutes(hours_of(fresh_store(), restarted, 2), Figure.ALLOCATED, Figure.BUSY)

    assert list(found) == ["job"]
    assert found["job"] == pytest.approx((60, 15), abs=3)


def test_mig_instances_without_counters_are_of_unknown_use(fresh_store: Callable[[], Store]) -> None:
    """Two halves of the memory are a whole GPU, and none of it is idle."""
    ledger = hours_of(fresh_store(), mig, 2)

    assert minutes(ledger, Figure.ALLOCATED, Figure.KNOWN) == {"a": (30, 0), "b": (30, 0)}
    assert cost_report(ledger, 86_400, NO_PRICES).idle == ()


def restarted_mig(add: Add, t: float) -> None:
    """The same, of an exporter with another address from the last half hour on, which reports no memory."""

    def at(metric: str, value: float, of: str = EXPORTER, /, **labels: str) -> None:
        if t <= 5400 or metric != "gpu_memory_total_bytes":
            add(metric, value, of, **{"instance": "n1:1" if t <= 5400 else "n1:2", **labels})

    at("up", 1)
    mig(at, t)


def test_the_memory_of_a_gpu_that_two_targets_report_is_known(fresh_store: Callable[[], Store]) -> None:
    """A profile's share of it decides what a MIG instance holds."""
    found = minutes(hours_of(fresh_store(), restarted_mig, 2), Figure.ALLOCATED)

    assert found["a"] == found["b"] == pytest.approx((30,), abs=3)
    assert sum(value for (value,) in found.values()) == pytest.approx(60)


def test_gauges_of_dcgm_exporter_are_divided_among_pods_and_never_make_one_idle(
    fresh_store: Callable[[], Store],
) -> None:
    """Its pods are allocations of the kubelet; energy is a counter."""
    ledger = hours_of(fresh_store(), dcgm, 2, step=60, job=DCGM)
    figures = (Figure.ALLOCATED, Figure.BUSY, Figure.BORROWED, Figure.SAMPLED, Figure.INFERRED)

    found = minutes(ledger, *figures)
    assert found["a"] == found["b"] == (30, 27, 0, 30, 0)
    assert found["c"] == pytest.approx((60, 60 * 0.95 * 0.9, 0, 60, 0), abs=3)
    assert cost_report(ledger, 86_400, NO_PRICES).idle == ()
    joules = ledger.hours[END - 3600].values[:, Figure.JOULES].sum()
    assert joules == pytest.approx(2 * 300 * 3600, rel=0.01)


@pytest.mark.parametrize("names", [("energy",), ("dcgm",), ("energy", "dcgm")], ids="+".join)
def test_energy_that_an_exporter_reports_in_two_namespaces_counts_once(
    names: tuple[str, ...], fresh_store: Callable[[], Store]
) -> None:
    """`--compat dcgm` adds the counter of dcgm-exporter, without a pod where no kubelet names one."""

    def fill(add: Add, t: float) -> None:
        idle_gpu(add)
        if "energy" in names:
            add("gpu_energy_joules_total", 300 * t, **gpu())
        if "dcgm" in names:
            labels = {"UUID": "GPU-0", "gpu": "0", "modelName": "NVIDIA H100 80GB HBM3", "Hostname": "n1"}
            add("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 300_000 * t, **labels)

    joules = hours_of(fresh_store(), fill, 2).hours[END - 3600].values[:, Figure.JOULES].sum()
    assert joules == pytest.approx(300 * 3600, rel=0.01)


@pytest.mark.parametrize(
    ("replicas", "target", "expected"),
    [(1, "other", True), (2, "other", False), (1, "notebook", False), (1, "", False), (math.nan, "other", False)],
    ids=["known", "a replica is not seen", "autoscaled", "autoscalers unknown", "no Deployment"],
)
def test_only_a_deployment_that_is_seen_whole_may_be_scaled_to_zero(
    replicas: float, target: str, expected: bool, fresh_store: Callable[[], Store]
) -> None:
    """And that no autoscaler would scale: the fact alone remains otherwise."""

    def fill(add: Add, _: float) -> None:
        idle_gpu(add)
        allocate(add, "notebook-7d9c5b6f4-x2x7k")
        for other in ("notebook-server-0", "notebook-training-x2x7k", "notebook-chat-7d9c5b6f4-x2x7k"):
            idle_gpu(add, 1)
            allocate(add, other, 1)
        if not math.isnan(replicas):
            add("kube_deployment_spec_replicas", replicas, KUBE, namespace="ml", deployment="notebook")
        if target:
            labels = {"namespace": "ml", "horizontalpodautoscaler": "hpa", "scaletargetref_name": target}
            add("kube_horizontalpodautoscaler_info", 1, KUBE, **labels)

    hour = hours_of(fresh_store(), fill, 2).hours[END - 3600]
    (run,) = (run for held, run in hour.idle.items() if held.gpu.index == "0")

    assert run == (3600, 1, True)
    assert (Service("ml", "notebook") in hour.pausable) is expected


SPANS = "traces_span_metrics_calls_total"
GRAPH = "traces_service_graph_request_total"


@pytest.mark.parametrize(
    ("metric", "labels", "expected"),
    [
        (SPANS, {"service_namespace": "ml", "service_name": "notebook", "span_kind": "SPAN_KIND_SERVER"}, True),
        (SPANS, {"service_name": "notebook", "span_kind": "SPAN_KIND_SERVER"}, True),
        (SPANS, {"service_namespace": "shop", "service_name": "notebook", "span_kind": "SPAN_KIND_SERVER"}, True),
        (SPANS, {"service_namespace": "ml", "service_name": "other", "span_kind": "SPAN_KIND_SERVER"}, False),
        (GRAPH, {"client": "web", "server": "notebook", "server_service_namespace": "ml"}, True),
        (GRAPH, {"client": "notebook", "client_service_namespace": "ml", "server": "web"}, False),
        ("vllm:request_success_total", {"service_namespace": "ml", "service_name": "notebook"}, True),
        ("up", {}, True),
    ],
)
def test_a_holder_that_may_have_requests_is_known(
    metric: str, labels: dict[str, str], expected: bool, fresh_store: Callable[[], Store]
) -> None:
    """By its spans, those of its callers, or its model server, in any namespace; a source without these knows none."""

    def fill(add: Add, t: float) -> None:
        idle_gpu(add)
        allocate(add, "notebook-7d9c5b6f4-x2x7k")
        add(metric, t / 60, "spans", **labels)

    hour = hours_of(fresh_store(), fill, 2).hours[END - 3600]
    assert (Service("ml", "notebook") in hour.requested) is expected


@pytest.mark.parametrize(
    ("profile", "gib", "expected"),
    [
        ("3g.40gb", 79.6, 1 / 2),
        ("1g.10gb", 79.6, 1 / 7),
        ("1g.20gb", 79.6, 1 / 4),
        ("2g.20gb+me", 79.6, 2 / 7),
        ("4g.40gb", 79.6, 4 / 7),
        ("7g.80gb", 79.6, 1),
        ("1g.6gb", 24, 1 / 4),
        ("1c.3g.40gb", 79.6, 1 / 6),
        ("3g.40gb", math.nan, 3 / 7),
        ("", 79.6, math.nan),
    ],
)
def test_a_mig_instance_has_the_larger_of_its_compute_and_memory_shares(
    profile: str, gib: float, expected: float
) -> None:
    """The rest of neither can be given to another."""
    assert mig_fraction(profile, gib * 2**30) == pytest.approx(expected, nan_ok=True)


class Limited(MetricSource):
    """Refuses more than ten minutes."""

    def __init__(self, source: MetricSource) -> None:
        self._source = source

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """As the source."""
        if end - start > 600:
            raise SourceError("store: more than 10,000 samples in one query")
        return self._source.fetch(query, start, end, step)

    def metric_names(self) -> frozenset[str]:
        """As the source."""
        return self._source.metric_names()


def test_an_hour_that_is_too_large_for_one_request_is_read_in_steps(fresh_store: Callable[[], Store]) -> None:
    """With the same ledger."""
    store = fresh_store()
    whole = hours_of(store, turnover, 2)
    stepwise = read(Limited(store))

    assert stepwise.hours.keys() == whole.hours.keys()
    for start, hour in whole.hours.items():
        assert stepwise.hours[start].keys == hour.keys
        np.testing.assert_allclose(stepwise.hours[start].values, hour.values)
        assert stepwise.hours[start].idle == hour.idle
