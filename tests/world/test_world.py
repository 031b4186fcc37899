"""Readings become a World: rows are named and joined, and absent values stay absent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.samples import Labels, labels_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge, Gpu, GpuWaitPair, Tenant, World
from foreshock_dashboard.render.units import duration, gpu_list, multiple
from foreshock_dashboard.world.builder import build_world as world_of_condensed
from foreshock_dashboard.world.builder import catalog
from foreshock_dashboard.world.histogram_quantiles import QuantileReducer
from foreshock_dashboard.world.observer import extend


def world_of(found: dict[str, Matrix], step: float) -> World:
    """The World of the answers of a source."""
    return world_of_condensed(QuantileReducer()(found), step)


TIMES = np.array([100.0, 110.0])
LLM, BATCH, WEB = Service("serving", "llm"), Service("ml", "batch"), Service("", "web")
HOST = {"job": "exporter", "instance": "10.0.0.1:10877"}
GPU = {**HOST, "uuid": "GPU-a"}


def matrix(*rows: tuple[dict[str, str], list[float]]) -> Matrix:
    """An answer to a query."""
    return Matrix.of(TIMES, {labels_of(labels): np.array(values) for labels, values in rows})


def named(service: Service, role: str = "service") -> dict[str, str]:
    """The labels of a service."""
    return {f"{role}_name": service.name, f"{role}_namespace": service.namespace}


EDGE = {"client": "web", "server": "llm", "server_service_namespace": "serving"}


def readings(**known: Matrix) -> dict[str, Matrix]:
    """Readings in which all others are empty."""
    return {key: known.get(key, Matrix.empty(TIMES)) for key in catalog(59.0)}


FULL: dict[str, Matrix] = {
    "up": matrix((HOST, [1, 1])),
    "host": matrix(({**HOST, "host_name": "host-1"}, [1, 1])),
    "gpu": matrix(({**GPU, "gpu": "3", "model": "H100"}, [1, 1])),
    "mock": matrix((HOST, [1, 1])),
    "utilization": matrix((GPU, [0.5, 0.9])),
    "temperature": matrix((GPU, [50, np.nan])),
    "busy": matrix(({**GPU, **named(LLM)}, [0.3, 0.4]), ({**GPU, **named(BATCH)}, [0.2, 0.5])),
    "gpu_wait_by": matrix(
        ({**GPU, **named(LLM), **named(BATCH, "aggressor")}, [0.1, 0.2]), ({**GPU, **named(LLM)}, [0.0, 0.1])
    ),
    "calls": matrix((EDGE, [10, 10]), ({"client": "user", "server": "web", "connection_type": "virtual_node"}, [9, 9])),
    "calls_failed": matrix((EDGE, [np.nan, 1])),
    "retries": matrix(({"client": "web", "server": "llm", "server_service_namespace": "serving"}, [0, 5])),
    "served": matrix((named(LLM), [10, 10])),
    "served_seconds": matrix(
        *(({**named(LLM), "le": le}, [n, n]) for le, n in (("0.1", 50.0), ("1", 100.0), ("+Inf", 100.0)))
    ),
}


def test_a_gpu_is_named_by_its_host_and_index() -> None:
    """The host's name is joined from target_info on (job, instance)."""
    world = world_of(readings(**FULL), 10.0)

    assert world.gpus == (Gpu("host-1", "3", "GPU-a", "H100"),)
    assert world.gpus[0].label == "host-1/gpu-3"
    assert world.utilization.tolist() == [[0.5, 0.9]]


def test_without_target_info_the_instance_is_the_host() -> None:
    """Other exporters have no host name."""
    world = world_of(readings(**{**FULL, "host": Matrix.empty(TIMES)}), 10.0)

    assert world.gpus[0].host == "10.0.0.1:10877"


def test_stalls_are_by_gpu_and_need_an_aggressor() -> None:
    """GPU wait without a noisy neighbor is not a pair."""
    world = world_of(readings(**FULL), 10.0)

    assert world.gpu_wait_pairs == (GpuWaitPair(world.gpus[0], LLM, BATCH),)
    assert world.gpu_wait_by.tolist() == [[0.1, 0.2]]
    assert world.tenants == (Tenant(world.gpus[0], BATCH), Tenant(world.gpus[0], LLM))


def test_services_serve_call_or_hold_a_gpu_and_are_not_virtual() -> None:
    """`user` stands for clients outside the platform."""
    world = world_of(readings(**FULL), 10.0)

    assert world.services == (WEB, BATCH, LLM)
    assert Edge(Service("", "user"), WEB, "virtual_node") in world.edges


def test_errors_are_a_share_of_requests_and_no_failures_are_zero_only_where_there_are_requests() -> None:
    """A failure counter that does not exist yet means no failures; no requests mean no share."""
    world = world_of(readings(**FULL), 10.0)
    row = world.edges.index(Edge(WEB, LLM))

    assert world.calls.error_rate[row].tolist() == [0.0, 0.1]
    assert np.isnan(world.red.error_rate[world.services.index(WEB)]).all()


def test_attempts_per_call_count_retries_over_first_attempts() -> None:
    """Ten calls of which five are retries are two attempts per first attempt."""
    world = world_of(readings(**FULL), 10.0)

    assert world.attempts[world.edges.index(Edge(WEB, LLM))].tolist() == [1.0, 2.0]


def test_durations_are_quantiles_of_the_buckets() -> None:
    """Half of the requests took up to 0.1 s."""
    world = world_of(readings(**FULL), 10.0)
    row = world.services.index(LLM)

    assert world.red.p50[row, 1] == pytest.approx(0.1)
    assert world.red.p95[row, 1] == pytest.approx(0.91)


def test_absent_is_never_zero() -> None:
    """A missing sample is NaN in the World; without any series the World is empty."""
    world = world_of(readings(**FULL), 10.0)
    nothing = world_of(readings(), 10.0)

    assert np.isnan(world.temperature[0, 1])
    assert np.isnan(world.power).all()
    assert (nothing.services, nothing.gpus, nothing.edges, nothing.gpu_wait_pairs) == ((), (), (), ())
    assert world.simulated
    assert not nothing.simulated


def test_readings_grow_at_the_end_and_shrink_at_the_start() -> None:
    """A series that came or went is NaN where it was not."""

    def rows(**values: list[float]) -> dict[Labels, Any]:
        return {(("s", name),): np.array(row) for name, row in values.items()}

    old = Matrix.of(np.array([0.0, 10.0, 20.0]), rows(a=[1, 2, 3], gone=[7, 8, 9]))
    new = Matrix.of(np.array([30.0]), rows(a=[4], fresh=[5]))

    joined = extend(old, new, since=10.0)

    assert joined.times.tolist() == [10.0, 20.0, 30.0]
    np.testing.assert_array_equal(joined.values, [[2, 3, 4], [np.nan, np.nan, 5], [8, 9, np.nan]])


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0854, "85 ms"), (1.239, "1.24 s"), (12.44, "12.4 s"), (0.9996, "1000 ms")]
)
def test_durations_read_well(seconds: float, text: str) -> None:
    """Three digits are enough."""
    assert duration(seconds) == text


def test_many_gpus_are_counted_not_listed() -> None:
    """A sentence stays a sentence."""
    gpus = [Gpu(f"host-{i // 8}", str(i % 8), f"u{i}") for i in range(16)]

    assert gpu_list(gpus) == "16 GPUs on 2 hosts"
    assert gpu_list(gpus[:2]) == "host-0/gpu-0 and host-0/gpu-1"


def test_a_host_that_two_jobs_scrape_is_not_counted_twice() -> None:
    """Copies of one GPU are one GPU."""
    twice = {
        key: matrix(
            *((dict(labels), row.tolist()) for labels, row in zip(found.labels, found.values, strict=True)),
            *(
                ({**dict(labels), "job": "second"}, row.tolist())
                for labels, row in zip(found.labels, found.values, strict=True)
            ),
        )
        for key, found in FULL.items()
        if key in ("up", "host", "gpu", "utilization", "busy", "gpu_wait_by")
    }
    world = world_of(readings(**{**FULL, **twice}), 10.0)

    assert world.utilization.tolist() == [[0.5, 0.9]]
    assert world.busy.tolist() == [[0.2, 0.5], [0.3, 0.4]]
    assert world.gpu_wait_by.tolist() == [[0.1, 0.2]]


def test_targets_are_those_of_gpus_and_of_foreshock() -> None:
    """A database exporter that is down is not listed; a foreshock-exporter that never answered is."""
    up = matrix(
        (HOST, [1, 1]),
        ({"job": "mysqld", "instance": "db:9104"}, [0, 0]),
        ({"job": "foreshock-exporter", "instance": "10.0.0.2:10877"}, [0, 0]),
    )
    world = world_of(readings(**{**FULL, "up": up}), 10.0)

    assert [(target.instance, target.up) for target in world.targets] == [
        ("10.0.0.1:10877", True),
        ("10.0.0.2:10877", False),
    ]


def test_a_target_that_is_down_has_no_values_while_its_rates_fade() -> None:
    """The rate window still holds earlier samples."""
    world = world_of(readings(**{**FULL, "up": matrix((HOST, [1, 0]))}), 10.0)

    np.testing.assert_array_equal(world.utilization, [[0.5, np.nan]])
    np.testing.assert_array_equal(world.gpu_wait_by, [[0.1, np.nan]])
    assert world.targets[0].up is False


def test_a_share_of_time_is_never_more_than_all_of_it() -> None:
    """Rates are extrapolated to the window's ends and may pass 1 a little."""
    world = world_of(readings(**{**FULL, "utilization": matrix((GPU, [1.003, 0.9]))}), 10.0)

    assert world.utilization.tolist() == [[1.0, 0.9]]


@pytest.mark.parametrize(("ratio", "text"), [(2.345, "2.3"), (1.1, "1.1"), (1.04, "1.04"), (1.0001, "1.01")])
def test_growth_is_never_written_as_none(ratio: float, text: str) -> None:
    assert multiple(ratio) == text
