"""Model servers are part of the service that answers where they are scraped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.world.scraped import START, Page, world_scraped

from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.samples import labels_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World
from foreshock_dashboard.world.builder import WorldBuilder, catalog
from foreshock_dashboard.world.model_servers import ALL_READINGS, ModelServerRows
from foreshock_dashboard.world.section import SPARE_NAMES, Sections
from foreshock_dashboard.world.targets import KEPT_SECONDS, ServicePlaces

MODEL, OTHER = Service("bed", "model"), Service("bed", "other")
BED_7B = Service("", "bed-7b")
PLACE = "foreshock_service_address_spans_total"
AT_ADDRESS = f'{PLACE}{{service_name="model",service_namespace="bed",server_address="gpu-1",server_port="8000"}} 9'
FROM_COLLECTOR = 'pod="otelcol-0",namespace="bed"'
IN_POD = f'{PLACE}{{service_name="model",service_namespace="bed",k8s_namespace_name="ml",k8s_pod_name="m-0"}} 9'


def spans(*more: str) -> Page:
    """The hub's series of spans of two services, and `more`."""
    return lambda t: "\n".join(
        (
            *(
                f'traces_span_metrics_calls_total{{service_name="{name}",service_namespace="bed",span_name="POST",'
                f'span_kind="SPAN_KIND_SERVER",status_code="STATUS_CODE_UNSET"}} {5 * t}'
                for name in ("model", "other")
            ),
            *more,
        )
    )


def vllm(labels: str = "") -> Page:
    """A vLLM server without the name of its service."""
    return lambda t: (
        f"""
vllm:num_requests_running{{model_name="bed-7b"{labels}}} 3
vllm:time_to_first_token_seconds_bucket{{le="1.0",model_name="bed-7b"{labels}}} {2 * t}
vllm:time_to_first_token_seconds_bucket{{le="+Inf",model_name="bed-7b"{labels}}} {2 * t}
process_open_fds 50
process_max_fds 100
"""
    )


def scraped(folder: Path, place: str, labels: str = "", job: str = "vllm", instance: str = "gpu-1:8000") -> World:
    """The World of the two services and a model server."""
    return world_scraped(folder, {("foreshock", "hub"): spans(place), (job, instance): vllm(labels)})


def service_of_server(world: World) -> Service:
    """The service of the only replica."""
    assert world.model_servers
    (replica,) = world.model_servers.replicas
    return replica.service


@pytest.mark.parametrize(
    ("place", "labels", "job", "instance"),
    [
        (AT_ADDRESS, "", "vllm", "gpu-1:8000"),
        (AT_ADDRESS, "", "vllm", "GPU-1.:8000"),
        (IN_POD, ',pod="m-0",namespace="ml"', "vllm", "10.0.0.7:8000"),
        (IN_POD, ',k8s_pod_name="m-0"', "vllm", "10.0.0.7:8000"),
        (
            'target_info{exported_job="bed/model",exported_instance="gpu-1:8000"} 1',
            "",
            "vllm",
            "gpu-1:8000",
        ),
        (
            'traces_target_info{exported_job="bed/model",exported_instance="1f",k8s_pod_name="m-0"} 1',
            ',pod="m-0"',
            "vllm",
            "10.0.0.7:8000",
        ),
        ("", ',pod="model-5d8f9c7b6d-x2x9k",namespace="bed"', "vllm", "10.0.0.7:8000"),
        ("", ',pod="model-0"', "vllm", "10.0.0.7:8000"),
        ("", "", "bed/model", "10.0.0.7:8000"),
        ("", "", "model", "10.0.0.7:8000"),
    ],
)
def test_a_server_joins_the_service_at_its_place(
    tmp_path: Path, place: str, labels: str, job: str, instance: str
) -> None:
    """By the address or pod that spans name, else by the names of workload and job. Nothing else is left of it."""
    world = scraped(tmp_path, place, labels, job, instance)
    assert service_of_server(world) == MODEL
    assert world.services == (MODEL, OTHER)
    assert world.model_servers
    assert world.model_servers.services == (MODEL,)
    assert world.unjoined == ()
    assert world.model_servers.first_token[0, -1] == pytest.approx(0.95)
    assert world.resources
    assert world.resources.files[world.resources.services.index(MODEL), -1] == 0.5


@pytest.mark.parametrize(
    ("place", "labels", "candidates"),
    [
        (f'target_info{{exported_job="bed/model",job="otelcol",{FROM_COLLECTOR}}} 1', f",{FROM_COLLECTOR}", ()),
        (
            f'{PLACE}{{service_name="model",service_namespace="bed",k8s_pod_uid="1",{FROM_COLLECTOR}}} 9',
            f",{FROM_COLLECTOR}",
            (),
        ),
        ("", "", ()),
        (AT_ADDRESS.replace("8000", "8001"), "", ()),
        (IN_POD, ',pod="m-0",namespace="elsewhere"', ()),
        (f"{AT_ADDRESS}\n{AT_ADDRESS.replace('model', 'other')}", "", (MODEL, OTHER)),
        ("", ',pod="model-0",namespace="staging"', (MODEL,)),
    ],
)
def test_a_server_without_a_place_is_listed_as_unjoined(
    tmp_path: Path, place: str, labels: str, candidates: tuple[Service, ...]
) -> None:
    """Two services at one address are ambiguous, and names mean little in another namespace.

    A guess would put its queue on the wrong service.
    """
    world = scraped(tmp_path, place, labels)
    assert world.services == (BED_7B, MODEL, OTHER)
    (unjoined,) = world.unjoined
    assert unjoined.replica.service == BED_7B
    assert (unjoined.job, unjoined.instance, unjoined.model) == ("vllm", "gpu-1:8000", "bed-7b")
    assert unjoined.candidates == candidates


def test_a_loopback_address_is_another_one_on_each_host(tmp_path: Path) -> None:
    """A health check by `localhost` names the port of any container. Who knows that there is one host sets a label."""
    (unjoined,) = scraped(tmp_path, AT_ADDRESS.replace("gpu-1", "::1"), "", "vllm", "127.0.0.1:8000").unjoined
    assert unjoined.candidates == (MODEL,)


def test_the_address_of_a_collector_is_not_that_of_its_services(tmp_path: Path) -> None:
    """It serves metrics of a server at its own `instance`, and resources without an instance ID."""
    info = 'target_info{exported_job="bed/model"} 1'
    world = world_scraped(
        tmp_path,
        {("foreshock", "hub"): spans(), ("otelcol", "collector:8889"): lambda t: f"{info}\n{vllm()(t)}"},
    )
    assert service_of_server(world) == BED_7B
    assert len(world.unjoined) == 1


def test_a_server_of_another_namespace_is_no_replica_whatever_its_names(tmp_path: Path) -> None:
    """Staging has the names of production: those of workload, job, and model."""
    pages: dict[tuple[str, str], Page] = {("foreshock", "hub"): spans(IN_POD.replace('"ml"', '"bed"'))}
    for namespace, pod in (("bed", "m-0"), ("staging", "model-0")):
        pages["model", f"{namespace}:8000"] = vllm(f',pod="{pod}",namespace="{namespace}"')
    world = world_scraped(tmp_path, pages)
    assert world.model_servers
    assert world.model_servers.services == (BED_7B, MODEL)
    assert world.model_servers.running[:, -1].tolist() == [3.0, 3.0]
    assert [(item.instance, item.candidates) for item in world.unjoined] == [("staging:8000", (MODEL,))]


def test_the_model_names_a_server_before_the_job_that_many_share(tmp_path: Path) -> None:
    named = spans()(0.0) or ""
    pages: dict[tuple[str, str], Page] = {("other", "gpu-1:8000"): vllm(), ("foreshock", "hub"): spans()}
    assert service_of_server(world_scraped(tmp_path / "by job", pages)) == OTHER
    pages["foreshock", "hub"] = lambda _: named.replace('"model"', '"bed-7b"')
    assert service_of_server(world_scraped(tmp_path / "by model", pages)) == Service("bed", "bed-7b")


def test_a_label_of_the_target_wins_over_its_place(tmp_path: Path) -> None:
    world = scraped(tmp_path, AT_ADDRESS, ',service_name="other",service_namespace="bed"')
    assert service_of_server(world) == OTHER


def test_without_other_services_a_server_is_no_problem(tmp_path: Path) -> None:
    """Where nothing sends spans, its model is as good a name as any."""
    world = world_scraped(tmp_path, {("vllm", "gpu-1:8000"): vllm()})
    assert world.unjoined == ()
    assert world.services == (BED_7B,)


def added(
    builder: WorldBuilder, start: float, rows: dict[str, dict[tuple[tuple[str, str], ...], list[float]]]
) -> World:
    """The World with two more times, 10 s apart."""
    times = np.array([start, start + 10.0])
    empty = Matrix.empty(times)
    keys = {key.replace("_seconds", "_p95") for key in catalog(59.0)} | set(catalog(59.0))
    found = {key: Matrix.of(times, {of: np.array(v) for of, v in row.items()}) for key, row in rows.items()}
    quantiles = {f"{key}_{q}": empty for key in _bucket_keys() for q in ("p50", "p95", "p99", "lower_bound")}
    return builder.add({**dict.fromkeys(keys, empty), **quantiles, **found})


def running_at(instance: str) -> tuple[tuple[str, str], ...]:
    """The series of a server."""
    return labels_of({"job": "vllm", "instance": instance, "model_name": "bed-7b"})


TRACED = {labels_of({"service_name": "model", "service_namespace": "bed"}): [5.0, 5.0]}
AT_GPU_1 = {
    labels_of(
        {"service_name": "model", "service_namespace": "bed", "server_address": "gpu-1", "server_port": "8000"}
    ): [1.0, 1.0]
}


def test_a_server_that_joins_late_takes_its_history_along() -> None:
    """Spans arrive after the first scrapes; no second service remains for the hours of the history."""
    running, builder = {running_at("gpu-1:8000"): [1.0, 2.0]}, WorldBuilder(10.0)
    assert added(builder, START, {"running": running}).services == (BED_7B,)
    after = added(builder, START + 20.0, {"running": running, "served": TRACED, "places": AT_GPU_1})
    assert after.services == (MODEL,)
    assert after.model_servers
    assert after.model_servers.running.tolist() == [[1.0, 2.0, 1.0, 2.0]]
    assert [replica.service for replica in after.model_servers.replicas] == [MODEL]


@pytest.mark.parametrize("other", ["gpu-0:8000", "gpu-2:8000"])
def test_the_history_of_several_servers_is_not_that_of_one(other: str) -> None:
    """A baseline of both would read as a halved load. It does not matter which one joins."""
    running, builder = {running_at("gpu-1:8000"): [10.0, 10.0], running_at(other): [10.0, 10.0]}, WorldBuilder(10.0)
    before = added(builder, START, {"running": running}).model_servers
    assert before
    assert before.running.tolist() == [[20.0, 20.0]]
    after = added(builder, START + 20.0, {"running": running, "served": TRACED, "places": AT_GPU_1}).model_servers
    assert after
    assert after.services == (BED_7B, MODEL)
    np.testing.assert_array_equal(after.running, [[np.nan, np.nan, 10.0, 10.0]] * 2)
    assert after.replica_busy.tolist() == [[10.0] * 4] * 2


def test_names_of_servers_that_are_gone_are_forgotten() -> None:
    """Pods come and go for as long as a hub runs."""
    sections = Sections(np.float64)
    rows = ModelServerRows(sections, ServicePlaces(), lambda _: "")
    empty = Matrix.empty(np.array([START]))
    for number in range(8):
        series = {running_at(f"pod-{number}-{pod}:8000"): np.array([1.0]) for pod in range(2 * SPARE_NAMES)}
        running = Matrix.of(np.array([START + number]), series)
        rows.update({**dict.fromkeys(ALL_READINGS, empty), "running": running}, START + number, frozenset(), False)
    assert len(rows.replicas.keys) == 2 * SPARE_NAMES
    assert len(rows._by_target) <= 8 * SPARE_NAMES


def test_an_address_belongs_to_its_new_service_once_the_old_one_is_gone_for_a_while() -> None:
    """Addresses of pods recur."""
    places = ServicePlaces()
    labels = {"instance": "10.0.0.7:8000"}

    def seen(at: float, name: str) -> bool:
        series = labels_of({"service_name": name, "server_address": "10.0.0.7", "server_port": "8000"})
        return places.update(Matrix.of(np.array([at]), {series: np.array([1.0])}))

    assert seen(0.0, "old")
    assert places.service_at(labels) == Service("", "old")
    assert seen(10.0, "new")
    assert places.service_at(labels) is None
    assert seen(400.0, "new")
    assert places.service_at(labels) == Service("", "new")
    assert not seen(410.0, "new")


def place_of(name: str, host: str, at: float) -> Matrix:
    """A span of a service at port 8000 of a host."""
    series = labels_of({"service_name": name, "server_address": host, "server_port": "8000"})
    return Matrix.of(np.array([at]), {series: np.array([1.0])})


def test_an_address_belongs_to_no_service_once_its_spans_are_gone_for_long() -> None:
    """Another server may have it by then. As long as nothing has spans, nothing changes."""
    places, labels = ServicePlaces(), {"instance": "10.0.0.7:8000"}
    assert places.update(place_of("old", "10.0.0.7", 0.0))
    assert places.update(place_of("other", "10.0.0.8", KEPT_SECONDS))
    assert places.service_at(labels) == Service("", "old")
    assert places.update(place_of("other", "10.0.0.8", KEPT_SECONDS + 1.0))
    assert places.service_at(labels) is None
    assert places.services_at(labels) == ()


def test_the_place_without_spans_for_longest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the one that was seen first, which may be in use."""
    monkeypatch.setattr("foreshock_dashboard.world.targets.MAX_PLACES", 2)
    places = ServicePlaces()
    for at, host in enumerate(("a", "b", "a", "c")):
        places.update(place_of(f"at-{host}", host, float(at)))
    found = [places.service_at({"instance": f"{host}:8000"}) for host in "abc"]
    assert found == [Service("", "at-a"), None, Service("", "at-c")]


def _bucket_keys() -> list[str]:
    return [
        key.removesuffix("_seconds")
        for key, row in catalog(59.0).items()
        if any(form.query.reduce == "buckets" for form in row.ways)
    ]
