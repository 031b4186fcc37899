"""GPUs that the kubelet allocated to pods, read over its real protocol."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import grpc
import pytest
from tests.exporter.kubernetes.kubelet import Devices, devices, kubelet, pod

from foreshock_exporter.kubernetes.allocations import MAX_DEVICES, Device, KnownDevices
from foreshock_exporter.kubernetes.pod_resources import MAX_MESSAGE_BYTES, READ_SECONDS, PodResources
from foreshock_exporter.model import metrics
from foreshock_exporter.model.device import Identity
from foreshock_exporter.model.family import Sample

GPU_0, GPU_1 = "GPU-5f1c3a2e-0d1b-4c6f-9a77-0c2f3d4e5a6b", "GPU-7a9b8c7d-1111-2222-3333-444455556666"
MIG = "MIG-3eb87630-93d5-b2b6-b8ff-9b359caf4ee2"
AMD = "GPU-1f9de0957d137942"
HOST = {
    GPU_0: Device("0", GPU_0),
    GPU_1: Device("1", GPU_1),
    MIG: Device("1", GPU_1, MIG),
    AMD: Device("2", AMD, pci_bus_id="0000:c1:00.0"),
}


class Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def reader(socket: Path, clock: Callable[[], float] | None = None, timeout: float = 30.0) -> PodResources:
    """The collector of a host with two GPUs, one of them with a MIG instance."""
    return PodResources(socket, lambda: HOST, clock or Clock(), timeout)


def allocations(collector: PodResources) -> list[dict[str, str]]:
    """Labels of the allocated devices, without the empty ones."""
    (samples,) = (samples for family, samples in collector() if family is metrics.ALLOCATION_INFO)
    return [
        {name: text for name, text in zip(metrics.ALLOCATION_INFO.labels, sample.labels, strict=True) if text}
        for sample in samples
    ]


def allocatable(collector: PodResources) -> dict[str, float]:
    """Number of allocatable devices by resource."""
    (samples,) = (samples for family, samples in collector() if family is metrics.ALLOCATABLE)
    return {sample.labels[0]: sample.value for sample in samples if isinstance(sample, Sample)}


CONTAINER = {"k8s_namespace_name": "ml", "k8s_container_name": "main"}
CHAT = {**CONTAINER, "k8s_pod_name": "chat-5d8f9c7b6d-x2x9k", "k8s_workload_name": "chat"}


@pytest.mark.parametrize(
    ("resource", "device", "labels"),
    [
        ("nvidia.com/gpu", GPU_0, {"gpu": "0", "uuid": GPU_0}),
        ("nvidia.com/gpu", f"{GPU_0}::3", {"gpu": "0", "uuid": GPU_0, "replica": "3"}),
        ("nvidia.com/gpu.shared", f"{GPU_1}::0", {"gpu": "1", "uuid": GPU_1, "replica": "0"}),
        ("nvidia.com/mig-1g.10gb", MIG, {"gpu": "1", "uuid": GPU_1, "mig_uuid": MIG}),
        ("nvidia.com/mig-1g.10gb", f"{MIG}::1", {"gpu": "1", "uuid": GPU_1, "mig_uuid": MIG, "replica": "1"}),
        ("nvidia.com/gpu", "1", {"gpu": "1", "uuid": GPU_1}),
        ("nvidia.com/gpu", "nvidia0", {"gpu": "0", "uuid": GPU_0}),
        ("nvidia.com/gpu", "nvidia0/vgpu2", {"gpu": "0", "uuid": GPU_0, "replica": "2"}),
        ("example.com/renamed", GPU_0, {"gpu": "0", "uuid": GPU_0}),
        ("nvidia.com/gpu", "GPU-unknown", {"uuid": "GPU-unknown"}),
        ("nvidia.com/mig-1g.10gb", "MIG-GPU-5f1c/7/0", {"mig_uuid": "MIG-GPU-5f1c/7/0"}),
        ("amd.com/gpu", "0000:c1:00.0", {"gpu": "2", "uuid": AMD}),
    ],
)
def test_a_device_of_a_container_is_an_allocation(
    tmp_path: Path, resource: str, device: str, labels: Mapping[str, str]
) -> None:
    """Exclusive, time-sliced, shared by MPS, and MIG. No process needs to run on it; its pod names the workload."""
    listed = pod("ml", "chat-5d8f9c7b6d-x2x9k", {"main": {resource: [device]}})
    with kubelet(tmp_path / "kubelet.sock", listed):
        assert allocations(reader(tmp_path / "kubelet.sock")) == [{**CHAT, "resource": resource, **labels}]


@pytest.mark.parametrize(
    ("device", "labels"),
    [
        ("gpu-5", {"gpu": "1", "uuid": GPU_1}),
        ("gpu-5-mig-1g10gb-19-0", {"gpu": "1", "uuid": GPU_1, "mig_uuid": MIG}),
        ("gpu-4-mig-19-0-1", {"gpu": "0", "uuid": GPU_0}),
        ("gpu-9", {}),
    ],
)
def test_a_device_of_a_claim_is_the_gpu_with_its_minor_number(
    tmp_path: Path, device: str, labels: Mapping[str, str]
) -> None:
    """Other drivers' devices are no GPUs. Without a single MIG instance, the name says which it is."""
    listed = {"one-gpu": [("gpu.nvidia.com", device), ("compute-domain.nvidia.com", "channel-0"), ("dra.net", "eth1")]}
    seen = [Identity(str(i), uuid, "", "", "", "", minor=f"{i + 4}") for i, uuid in enumerate((GPU_0, GPU_1))]
    host = KnownDevices().update(seen, {GPU_0: (), GPU_1: (MIG,)})
    with kubelet(tmp_path / "kubelet.sock", pod("ml", "chat-5d8f9c7b6d-x2x9k", {"main": {}}, listed)):
        found = allocations(PodResources(tmp_path / "kubelet.sock", lambda: host, Clock(), 30.0))
    assert found == [{**CHAT, "resource": "gpu.nvidia.com", "claim": "one-gpu", "device": device, **labels}]


def test_the_labels_stay_when_a_gpu_hangs(tmp_path: Path) -> None:
    """When a GPU hangs, one asks whose pod is on it; and the first scrape has the labels of all others."""
    given: Devices = {"nvidia.com/gpu": [GPU_0], "nvidia.com/mig-1g.10gb": [MIG]}
    seen = [Identity(str(i), uuid, "H100", "", "", "") for i, uuid in enumerate((GPU_0, GPU_1))]
    known, answering = KnownDevices(), dict[str, tuple[str, ...]]()
    with kubelet(tmp_path / "kubelet.sock", pod("ml", "a-0", {"main": given})):
        collector = PodResources(tmp_path / "kubelet.sock", lambda: known.update(seen, answering), Clock(), 30.0)
        assert list(collector()) == [], "before the first reading of a GPU"
        answering |= {GPU_0: (), GPU_1: (MIG,)}
        before = allocations(collector)
        answering.clear()
        assert allocations(collector) == before
    assert [(row["gpu"], row["uuid"], row.get("mig_uuid")) for row in before] == [("0", GPU_0, None), ("1", GPU_1, MIG)]


def test_each_container_of_each_pod_has_its_devices(tmp_path: Path) -> None:
    """Other hardware, containers without a device, and pods without one are left out."""
    given: Devices = {"nvidia.com/gpu": [GPU_0, GPU_1], "rdma/hca": ["mlx5_0"], "intel.com/sriov": ["0000:3b:02.1"]}
    listed = pod("ml", "train-0", {"main": given, "sidecar": {}}) + pod("kube-system", "proxy-abcde", {"proxy": {}})
    with kubelet(tmp_path / "kubelet.sock", listed, devices(1, given)):
        collector = reader(tmp_path / "kubelet.sock")
        assert [row["uuid"] for row in allocations(collector)] == [GPU_0, GPU_1]
        assert {row["k8s_workload_name"] for row in allocations(collector)} == {"train"}
        assert allocatable(collector) == {"nvidia.com/gpu": 2.0}


def test_replicas_of_a_shared_gpu_are_allocatable_each(tmp_path: Path) -> None:
    given = {"nvidia.com/gpu.shared": [f"{GPU_0}::{replica}" for replica in range(4)], "nvidia.com/mig-1g.10gb": [MIG]}
    with kubelet(tmp_path / "kubelet.sock", b"", devices(1, given)):
        collector = reader(tmp_path / "kubelet.sock")
        assert allocatable(collector) == {"nvidia.com/gpu.shared": 4.0, "nvidia.com/mig-1g.10gb": 1.0}
        assert allocations(collector) == []


def test_a_kubelet_without_allocatable_resources_still_lists_pods(tmp_path: Path) -> None:
    """Before Kubernetes 1.23 they were behind a feature gate."""
    with kubelet(tmp_path / "kubelet.sock", pod("ml", "a-0", {"main": {"nvidia.com/gpu": [GPU_0]}}), None):
        collector = reader(tmp_path / "kubelet.sock")
        assert len(allocations(collector)) == 1
        assert allocatable(collector) == {}


def test_a_restarted_kubelet_is_read_again(tmp_path: Path) -> None:
    """It makes a new socket. While it is away nothing is reported, and the next run tries again at once."""
    socket, clock = tmp_path / "kubelet.sock", Clock()
    collector = reader(socket, clock)
    with kubelet(socket, pod("ml", "before-0", {"main": {"nvidia.com/gpu": [GPU_0]}})):
        assert allocations(collector)[0]["k8s_pod_name"] == "before-0"
    clock.time += READ_SECONDS
    with pytest.raises(OSError, match="no such socket; start the kubelet"):
        collector()
    with kubelet(socket, pod("ml", "after-0", {"main": {"nvidia.com/gpu": [GPU_0]}})):
        assert allocations(collector)[0]["k8s_pod_name"] == "after-0"


def test_a_read_is_used_for_some_seconds(tmp_path: Path) -> None:
    """A node has hundreds of pods, and allocations rarely change."""
    socket, clock, calls = tmp_path / "kubelet.sock", Clock(), []

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:  # noqa: ARG001 - as gRPC calls it
        calls.append(request)
        return b""

    with kubelet(socket, answer):
        collector = reader(socket, clock)
        for _ in range(3):
            collector()
        assert calls == [b""]
        clock.time += READ_SECONDS
        collector()
        assert len(calls) == 2


def test_a_hung_kubelet_fails_the_read_at_its_deadline(tmp_path: Path) -> None:
    """A scrape shows the values of the last run of each collector, so it never waits for one."""
    released = threading.Event()

    def hang(request: bytes, context: grpc.ServicerContext) -> bytes:  # noqa: ARG001 - as gRPC calls it
        released.wait(30)
        return b""

    with kubelet(tmp_path / "kubelet.sock", hang):
        try:
            with pytest.raises(OSError, match=r"the kubelet did not answer List within 0.1 s"):
                reader(tmp_path / "kubelet.sock", timeout=0.1)()
        finally:
            released.set()


def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:  # noqa: ARG001 - as gRPC calls it
    """Refuse a call as the kubelet does beyond its rate limit."""
    context.abort(grpc.StatusCode.INTERNAL, "rejected by rate limit")
    return b""


MANY = pod("ml", "many-0", {"main": {"nvidia.com/gpu": [f"{GPU_0}::{n}" for n in range(MAX_DEVICES + 1)]}})


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (refuse, OSError, "refused List: INTERNAL rejected by rate limit"),
        (bytes(MAX_MESSAGE_BYTES + 1), ValueError, "the answer of List is larger than 16 MiB"),
        (MANY, ValueError, "more than 4096 devices are allocated"),
        (b"\x0a\xff", OSError, "List: INTERNAL"),
    ],
)
def test_a_useless_answer_fails_the_read(
    tmp_path: Path, answer: bytes | Callable[..., bytes], error: type[Exception], message: str
) -> None:
    """Of absurd size, malformed, or none."""
    with kubelet(tmp_path / "kubelet.sock", answer), pytest.raises(error, match=message):
        reader(tmp_path / "kubelet.sock")()


def test_a_file_that_is_no_socket_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "kubelet.sock").touch()
    with pytest.raises(OSError, match="cannot connect to the kubelet"):
        reader(tmp_path / "kubelet.sock")()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_without_permission_the_message_says_so(tmp_path: Path) -> None:
    """The kubelet's folder is root's alone."""
    folder = tmp_path / "pod-resources"
    folder.mkdir(mode=0o700)
    os.seteuid(65534)
    try:
        with pytest.raises(OSError, match="permission denied; run as root"):
            reader(folder / "kubelet.sock")()
    finally:
        os.seteuid(0)


def test_names_from_the_kubelet_are_bounded_and_printable(tmp_path: Path) -> None:
    listed = pod("ml", "a\n" + "b" * 500, {"main": {"nvidia.com/gpu": [GPU_0]}})
    with kubelet(tmp_path / "kubelet.sock", listed):
        (row,) = allocations(reader(tmp_path / "kubelet.sock"))
    assert row["k8s_pod_name"] == "a " + "b" * 126
