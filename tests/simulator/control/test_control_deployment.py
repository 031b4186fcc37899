"""Pods claim GPUs, load, serve and end; the families of kube-state-metrics report them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from foreshock_exporter.model.family import Sample
from foreshock_simulator.control import kube
from foreshock_simulator.control.autoscaler import Autoscaler
from foreshock_simulator.control.capacity import Capacity
from foreshock_simulator.control.deployment import Deployment
from foreshock_simulator.core.engine import Engine, Signal
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.spec.platform import Place, PoolSpec
from foreshock_simulator.spec.services import AutoscalerSpec

NAME = ServiceName("serving", "llm-chat")
EPOCH = 1_800_000_000.0


@dataclass
class Cluster:
    """A deployment of one-GPU replicas in a pool; its replicas share `load`."""

    quota: int = 8
    provisioning: float = 0.0
    load: float = 0.0
    draining: float = 0.0
    seed: int = 1
    engine: Engine = field(default_factory=Engine)
    started: list[tuple[float, Place]] = field(default_factory=list)
    stopped: list[tuple[float, Place, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        places = tuple(Place("h0", gpu) for gpu in range(8))
        spec = PoolSpec("chat", places, quota=self.quota, provisioning=self.provisioning)
        self.capacity = Capacity(self.engine, [spec], random_stream(self.seed, "capacity"))
        self.deployment: Deployment[Place] = Deployment(
            self.engine, NAME, self.capacity, random_stream(self.seed, "cold"), pool="chat", gpus=1,
            start=self._start, stop=self._stop, measure=lambda _: self.load / max(self.deployment.ready, 1),
        )  # fmt: skip

    def _start(self, places: tuple[Place, ...]) -> Place:
        self.started.append((self.engine.now, places[0]))
        return places[0]

    def _stop(self, replica: Place, drain: bool) -> Signal:
        self.stopped.append((self.engine.now, replica, drain))
        gone = Signal(self.engine)
        self.engine.schedule(self.engine.now + (self.draining if drain else 0.0), gone.fire)
        return gone

    def phases(self) -> list[str]:
        """Phases of the pods, oldest first."""
        return [pod.phase for pod in self.deployment.pods]

    @property
    def used(self) -> int:
        """Held GPUs."""
        return self.capacity.quotas()["chat"].used


def test_initial_replicas_serve_at_once_and_later_ones_after_loading() -> None:
    """A minute is enough for nearly all; meanwhile they are Running and not ready."""
    cluster = Cluster()
    cluster.deployment.begin(2)
    assert [at for at, _ in cluster.started] == [0.0, 0.0]
    cluster.deployment.scale_to(4)
    cluster.engine.run(0.1)
    assert (cluster.phases(), cluster.deployment.ready) == (["Running"] * 4, 2)
    cluster.engine.run(120.0)
    assert cluster.deployment.ready == 4
    assert all(at > 1.0 for at, _ in cluster.started[2:])


def test_beyond_the_quota_pods_stay_pending_until_there_is_room() -> None:
    """A scale-up that never completes: desired 6, held 3, pending 3, for a day."""
    cluster = Cluster(quota=3)
    cluster.deployment.begin(2)
    cluster.deployment.scale_to(6)
    cluster.engine.run(86_400.0)
    assert (cluster.deployment.ready, cluster.used) == (3, 3)
    assert cluster.phases() == ["Running"] * 3 + ["Pending"] * 3


def test_scale_down_removes_pending_then_loading_then_newest_pods() -> None:
    """The order of a ReplicaSet. Serving replicas are drained, and every GPU is released."""
    cluster = Cluster(quota=4)
    cluster.deployment.begin(2)
    cluster.engine.run(100.0)
    cluster.deployment.scale_to(6)
    cluster.engine.run(100.5)
    cluster.deployment.scale_to(3)
    assert (cluster.phases(), cluster.deployment.ready, cluster.used) == (["Running"] * 3, 2, 3)
    cluster.engine.run(300.0)
    cluster.deployment.scale_to(1)
    cluster.engine.run(300.5)
    assert cluster.used == 1
    assert [(place.gpu, drain) for _, place, drain in cluster.stopped] == [(2, True), (1, True)]
    cluster.engine.run(1000.0)
    assert (cluster.deployment.ready, len(cluster.started)) == (1, 3)


def test_a_pod_removed_in_the_instant_of_its_grant_releases_its_gpu() -> None:
    """No GPU leaks between the grant and the start of the pod."""
    cluster = Cluster(quota=1)
    cluster.deployment.scale_to(1)
    cluster.deployment.scale_to(0)
    cluster.engine.run(1000.0)
    assert (cluster.used, cluster.started) == (0, [])


def test_failed_replicas_keep_their_places_and_restart_cold() -> None:
    """They count as unavailable meanwhile, and no other replica gets their GPUs."""
    cluster = Cluster(quota=2)
    cluster.deployment.begin(2)
    cluster.engine.run(50.0)
    assert cluster.deployment.fail(1) == ((Place("h0", 0),),)
    assert cluster.stopped == [(50.0, Place("h0", 0), False)]
    cluster.engine.run(500.0)
    assert (cluster.phases(), cluster.deployment.ready, cluster.used) == (["Failed", "Running"], 1, 2)
    cluster.deployment.recover()
    cluster.engine.run(700.0)
    assert cluster.deployment.ready == 2
    assert cluster.started[-1][0] > 500.0


@pytest.mark.parametrize("seed", range(5))
def test_a_surge_is_followed_after_provisioning_and_cold_start(seed: int) -> None:
    """Desired within a minute, ready minutes later: the scale-up lag in which cascades occur."""
    cluster = Cluster(provisioning=380.0, load=60.0, seed=seed)
    cluster.deployment.begin(2)
    spec = AutoscalerSpec("in_flight", target=10.0, maximum=8)
    Autoscaler(cluster.engine, NAME, spec, cluster.deployment)
    cluster.engine.run(61.0)
    assert (cluster.deployment.desired, cluster.deployment.ready) == (6, 2)
    cluster.engine.run(1500.0)
    assert cluster.deployment.ready == 6
    assert cluster.started[2][0] > 120.0
    assert cluster.started[-1][0] < 1200.0


def test_kube_state_metrics_families_match_the_state() -> None:
    """Names, labels and values as in its documentation."""
    cluster = Cluster(quota=3, load=80.0)
    cluster.deployment.begin(2)
    scaler = Autoscaler(cluster.engine, NAME, AutoscalerSpec("in_flight", target=10.0, maximum=6), cluster.deployment)
    cluster.engine.run(20.0)
    emitted = kube.families([scaler], [cluster.deployment], cluster.capacity, EPOCH)
    values: dict[tuple[str, ...], float] = {
        (
            family.name,
            *(f"{key}={value}" for key, value in zip(family.labels, sample.labels, strict=True)),
        ): sample.value
        for family, samples in emitted
        for sample in samples
        if isinstance(sample, Sample)
    }
    hpa = ("namespace=serving", "horizontalpodautoscaler=llm-chat")
    deployment = ("namespace=serving", "deployment=llm-chat")
    gpus = ("namespace=gpu-pools", "resourcequota=chat", "resource=requests.nvidia.com/gpu")
    assert values["kube_horizontalpodautoscaler_status_desired_replicas", *hpa] == 6
    assert values["kube_horizontalpodautoscaler_spec_max_replicas", *hpa] == 6
    assert values[
        "kube_horizontalpodautoscaler_status_target_metric", *hpa, "metric_name=in_flight", "metric_target_type=average"
    ] == 40.0  # fmt: skip
    assert values["kube_deployment_spec_replicas", *deployment] == 6
    assert values["kube_deployment_metadata_generation", *deployment] == 2
    assert values["kube_deployment_status_replicas_ready", *deployment] == cluster.deployment.ready == 2
    assert values["kube_deployment_status_replicas_unavailable", *deployment] == 4
    assert (values["kube_resourcequota", *gpus, "type=hard"], values["kube_resourcequota", *gpus, "type=used"]) == (
        3,
        3,
    )
    phases = {key[-1]: 0.0 for key in values if key[0] == "kube_pod_status_phase"}
    for key, value in values.items():
        if key[0] == "kube_pod_status_phase":
            phases[key[-1]] += value
    assert phases == {
        "phase=Pending": 3, "phase=Running": 3, "phase=Succeeded": 0, "phase=Failed": 0, "phase=Unknown": 0,
    }  # fmt: skip
    created = [value for key, value in values.items() if key[0] == "kube_pod_created"]
    assert sorted(created) == [EPOCH] * 2 + [EPOCH + 15.0] * 4
    unscheduled = [
        value for key, value in values.items() if key[0] == "kube_pod_status_scheduled" and key[-1] == "condition=false"
    ]
    assert sorted(unscheduled) == [0, 0, 0, 1, 1, 1]
    assert len({key[3] for key in values if key[0] == "kube_pod_created"}) == 6


def test_gpus_of_a_draining_replica_are_held_until_it_ends() -> None:
    """Otherwise the next replica would find no memory there."""
    cluster = Cluster(quota=1, draining=30.0)
    cluster.deployment.begin(1)
    cluster.deployment.scale_to(0)
    cluster.engine.run(29.0)
    assert cluster.used == 1
    cluster.engine.run(31.0)
    assert cluster.used == 0


def test_a_replica_is_replaced_in_its_place_once_it_has_drained() -> None:
    """The new one starts cold; meanwhile one replica is missing."""
    cluster = Cluster(draining=5.0)
    cluster.deployment.begin(2)
    first = cluster.started[0][1]
    cluster.engine.spawn(cluster.deployment.replace(first))
    cluster.engine.run(4.0)
    assert (cluster.deployment.ready, cluster.used, len(cluster.started)) == (1, 2, 2)
    cluster.engine.run(200.0)
    assert (cluster.deployment.ready, cluster.used) == (2, 2)
    assert [place for at, place in cluster.started if at > 5.0] == [first]
