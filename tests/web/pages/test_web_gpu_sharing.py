"""How services share GPUs: MPS by service with its state, and services whose CPUs are far from their GPU."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
from tests.web.worlds import NOW, FakeHub, NoMetrics, contended, service, snapshot

from foreshock_dashboard.model.query import Matrix, Query, SourceError
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.model.world import Tenant, World
from foreshock_dashboard.store import Store
from foreshock_dashboard.web.pages.fleet.gpu import HardwareHealth, gpu_detail
from foreshock_dashboard.web.pages.services.data import service as service_page
from foreshock_dashboard.web.panels.gpu_sharing import SharingReader, far_cpus, read_sharing
from foreshock_dashboard.web.state import lists
from foreshock_dashboard.web.state.placement import GpuSharing, MpsService

THIS = {"uuid": "GPU-0-0"}
LLM, EMBEDDER = ({**THIS, "service_namespace": "", "service_name": name} for name in ("train-llm", "embedder"))
Series = list[tuple[str, Mapping[str, str], float]]
CLIENTS: Series = [
    ("gpu_info", {**THIS, "sharing": "mps"}, 1.0),
    ("gpu_mps_clients", THIS, 4.0),
    ("gpu_service_mps_clients", LLM, 2.0),
    ("gpu_service_mps_clients", EMBEDDER, 1.0),
    ("gpu_service_mps_sm_limit_ratio", LLM, 0.4),
    ("gpu_service_mps_memory_limit_bytes", LLM, 2.0**34),
]
UP: Series = [("gpu_mps_servers", THIS, 1.0), ("gpu_mps_control_daemon_up", THIS, 1.0)]
UNKNOWN_TIME: Series = [
    (
        "foreshock_exporter_metric_unavailable",
        {**THIS, "metric": "gpu_service_busy_seconds_total", "reason": "mps"},
        1.0,
    )
]


def read(folder: Path, series: Series, world: World, targets: int = 1) -> dict[str, GpuSharing]:
    """Sharing as a store has it that scraped these series from each target."""
    with closing(Store.open(folder / "store", now=lambda: NOW)) as store:
        for target in range(targets):
            samples = tuple(Sample(name, labels_of(labels), value) for name, labels, value in series)
            store.append_samples([SampleBatch(NOW - 5, f"n{target}:1", samples)])
        return read_sharing(store, world)


def test_mps_of_a_gpu_has_clients_and_limits_by_service(tmp_path: Path) -> None:
    """Also where two targets report the GPU; on the open GPU, beside its services, and in the API."""
    world = contended()
    sharing = read(tmp_path, [*CLIENTS, *UP], world, targets=2)
    mode, mps, _ = sharing["GPU-0-0"]
    assert mode == "mps"
    assert mps
    assert (mps.state, mps.clients, mps.servers, mps.is_time_unknown) == ("running", 4, 1, False)
    assert mps.services == [MpsService("embedder", 1, None, None), MpsService("train-llm", 2, 0.4, 2.0**34)]
    assert "1 client could not be matched to a service." in mps.text

    body = gpu_detail(snapshot(world), "GPU-0-0", HardwareHealth(), sharing)
    assert [(row.service, row.mps and row.mps.clients) for row in body["services"]] == [
        ("train-llm", 2),
        ("embedder", 1),
    ]
    assert (body["sharing"], body["mps"]) == ("mps", mps)
    rows = lists.gpus(snapshot(world), sharing)["gpus"]
    assert [(row.sharing, row.mps) for row in rows[:2]] == [("mps", mps), (None, None)]


@pytest.mark.parametrize(
    ("series", "state", "words"),
    [
        (UP, "running", "MPS: The server and the control daemon are running."),
        ([("gpu_mps_servers", THIS, 0.0)], "server_ended", "Restart the services that make no progress"),
        ([*UP[:1], ("gpu_mps_control_daemon_up", THIS, 0.0)], "control_daemon_gone", "nvidia-cuda-mps-control -d"),
        (UP[:1], "unknown", "cannot see its control daemon"),
        ([], "unknown", "cannot see the MPS server"),
        ([*UP, *UNKNOWN_TIME], "running", "GPU time per service is unknown"),
    ],
)
def test_the_state_of_mps_has_its_remedy(tmp_path: Path, series: Series, state: str, words: str) -> None:
    """What is not seen is unknown; time that the driver does not divide is said to be."""
    mps = read(tmp_path, [*CLIENTS, *series], contended())["GPU-0-0"].mps
    assert mps
    assert mps.state == state
    assert words in mps.text
    assert mps.is_time_unknown == (series[-1:] == UNKNOWN_TIME)


def test_a_gpu_that_never_used_mps_has_none(tmp_path: Path) -> None:
    """Only its sharing mode."""
    sharing = read(tmp_path, [("gpu_info", {**THIS, "sharing": "time-slicing"}, 1.0)], contended())
    assert sharing == {"GPU-0-0": GpuSharing("time-slicing")}


@pytest.mark.parametrize(
    ("ratios", "sentence"),
    [
        ({"GPU-0-0": 0.5}, None),
        ({"GPU-0-0": 0.12}, "embedder has 12% of its CPUs on the NUMA node of host-0/gpu-0 (minimum 50%). Pin the"),
        (
            {"GPU-0-0": 0.3, "GPU-0-1": 0.0},
            "embedder has 0% of its CPUs on the NUMA node of host-0/gpu-1 (minimum 50%), as on 1 other GPU. Pin the",
        ),
        ({}, None),
    ],
)
def test_cpus_far_from_the_gpu_are_stated_where_they_are_most(ratios: dict[str, float], sentence: str | None) -> None:
    """On the page of the service, with the worst GPU; a service that is not pinned on two nodes is at the limit."""
    world, who = contended(), service("embedder")
    gpus = [gpu for gpu in world.gpus if gpu.uuid in ("GPU-0-0", "GPU-0-1")]
    sharing = {uuid: GpuSharing(local_cpus={who: ratio}) for uuid, ratio in ratios.items()}
    found = far_cpus(sharing, [Tenant(gpu, who) for gpu in gpus])
    assert len(found) == (sentence is not None)
    assert all(text.startswith(str(sentence)) for text in found)
    assert service_page(snapshot(world), who, sharing=sharing)["far_cpus"] == found


def test_the_share_of_near_cpus_is_read_by_service(tmp_path: Path) -> None:
    """In the API for each service, and on the open GPU only where it is low."""
    world = contended()
    series: Series = [("gpu_service_local_cpus_ratio", LLM, 0.25), ("gpu_service_local_cpus_ratio", EMBEDDER, 1.0)]
    sharing = read(tmp_path, series, world)
    (first, *_) = lists.gpus(snapshot(world), sharing)["gpus"]
    assert {row.service: row.local_cpus_ratio for row in first.services} == {"train-llm": 0.25, "embedder": 1.0}
    (sentence,) = gpu_detail(snapshot(world), "GPU-0-0", HardwareHealth(), sharing)["far_cpus"]
    assert sentence.startswith("train-llm has 25%")


class Down(NoMetrics):
    """A source that cannot answer."""

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """Always an error."""
        del query, start, end, step
        raise SourceError("down")


def test_sharing_is_unknown_where_the_source_cannot_answer() -> None:
    """The lists and pages go without it."""
    seen = snapshot(contended())
    assert SharingReader(FakeHub(seen, metrics=Down())).by_gpu(seen) == {}
