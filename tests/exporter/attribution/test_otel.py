"""The resource detector."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_exporter.attribution.host_identity import host_id
from foreshock_exporter.attribution.resource_detector import (
    ForeshockResourceDetector,
    container_ids,
    parse_mountinfo,
    visible_gpus,
)

POD = "0f8fad5b-d9cb-469f-a165-70867728950e"
ID, SANDBOX = "3f" * 32, "a1" * 32
MACHINE = "e08d2021fbdd6f894fde550c98aff54d"
Tree = Callable[[Mapping[str, str | bytes]], Path]


def mount(root: str, at: str) -> str:
    """A line of mountinfo."""
    return f"36 35 98:0 {root} {at} rw,noatime master:1 - ext4 /dev/sda1 rw\n"


BARE = mount("/", "/") + mount("/", "/proc")
DOCKER = BARE + "".join(
    mount(f"/var/lib/docker/containers/{ID}/{name}", f"/etc/{name}") for name in ("resolv.conf", "hostname", "hosts")
)
PODMAN = BARE + mount(f"/containers/storage/overlay-containers/{ID}/userdata/.containerenv", "/run/.containerenv")
CONTAINERD_POD = (
    BARE
    + mount(f"/var/lib/kubelet/pods/{POD}/etc-hosts", "/etc/hosts")
    + mount(f"/var/lib/kubelet/pods/{POD}/containers/chat/0a1b2c3d", "/dev/termination-log")
    + mount(f"/var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/{SANDBOX}/hostname", "/etc/hostname")
)
DOCKER_POD = CONTAINERD_POD + mount(f"/var/lib/docker/containers/{SANDBOX}/resolv.conf", "/etc/resolv.conf")


@pytest.mark.parametrize(
    ("cgroup", "mountinfo", "expected"),
    [
        pytest.param("0::/user.slice/session-1.scope\n", BARE, (None, None), id="a host"),
        pytest.param(f"0::/system.slice/docker-{ID}.scope\n", BARE, (ID, None), id="Docker, version 2, host namespace"),
        pytest.param("0::/\n", DOCKER, (ID, None), id="Docker, version 2, its own namespace"),
        pytest.param(f"12:memory:/docker/{ID}\n1:name=systemd:/docker/{ID}\n", DOCKER, (ID, None), id="Docker, 1"),
        pytest.param("0::/\n", PODMAN, (ID, None), id="Podman"),
        pytest.param(
            f"0::/kubepods.slice/kubepods-pod{POD.replace('-', '_')}.slice/cri-containerd-{ID}.scope\n",
            CONTAINERD_POD,
            (ID, POD),
            id="a pod, version 2, host namespace",
        ),
        pytest.param(
            f"4:memory:/kubepods/besteffort/pod{POD}/{ID}\n", CONTAINERD_POD, (ID, POD), id="a pod, version 1"
        ),
        pytest.param("0::/\n", CONTAINERD_POD, (None, POD), id="a pod, its own namespace: the sandbox is not it"),
        pytest.param("0::/\n", DOCKER_POD, (None, POD), id="a pod of Docker, its own namespace"),
        pytest.param(
            "0::/\n",
            BARE + mount(f"/pods/{POD}/volumes/v", f"/var/lib/kubelet/pods/{POD}/volumes/v"),
            (None, None),
            id="another pod's volume, seen from one that mounts the kubelet's folder",
        ),
        pytest.param("", "", (None, None), id="no /proc at all"),
    ],
)
def test_container_and_pod_of_a_process_are_detected(
    cgroup: str, mountinfo: str, expected: tuple[str | None, str | None]
) -> None:
    """From either cgroup version, or from mounts if a namespace hides them."""
    ids = container_ids(cgroup, parse_mountinfo(mountinfo))
    assert (ids.container, ids.pod) == expected


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, ("0", "1")),
        ({"CUDA_VISIBLE_DEVICES": " 3 , GPU-8932f937 "}, ("3", "GPU-8932f937")),
        ({"CUDA_VISIBLE_DEVICES": ""}, ()),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, ()),
        ({"CUDA_VISIBLE_DEVICES": "0,-1,2"}, ("0",)),
        ({"CUDA_VISIBLE_DEVICES": "0", "NVIDIA_VISIBLE_DEVICES": "GPU-1"}, ("0",)),
        ({"NVIDIA_VISIBLE_DEVICES": "GPU-1,MIG-2"}, ("GPU-1", "MIG-2")),
        ({"NVIDIA_VISIBLE_DEVICES": "all"}, ("all",)),
        ({"NVIDIA_VISIBLE_DEVICES": "void"}, ()),
        ({"NVIDIA_VISIBLE_DEVICES": "none"}, ()),
    ],
)
def test_visible_gpus_are_those_of_the_variable(environ: dict[str, str], expected: tuple[str, ...] | None) -> None:
    """None of them is not the same as not known."""
    assert visible_gpus(environ) == expected


@given(st.text(), st.text(), st.text())
def test_whatever_stands_in_files_and_variables_nothing_is_raised(cgroup: str, mountinfo: str, gpus: str) -> None:
    """A detector that fails takes the whole service down with it at its start."""
    found = container_ids(cgroup, parse_mountinfo(mountinfo))
    assert found.container is None or len(found.container) == 64
    assert len(visible_gpus({"CUDA_VISIBLE_DEVICES": gpus}) or ()) <= 128


@pytest.mark.parametrize("path", ["etc/machine-id", "var/lib/dbus/machine-id"])
def test_service_and_exporter_name_the_host_alike(tree: Tree, path: str) -> None:
    """Else nothing of one is found at the other."""
    root = tree({path: f"{MACHINE}\n", "proc/self/cgroup": "0::/init.scope\n", "proc/self/mountinfo": BARE})

    resource = ForeshockResourceDetector(root=root, environ={}).detect()

    assert resource.attributes == {"process.pid": os.getpid(), "host.id": MACHINE}
    assert host_id(root, "none") == MACHINE


@pytest.mark.parametrize(
    ("files", "environ"),
    [
        ({"proc/self/cgroup": f"0::/docker/{ID}\n"}, {}),
        ({"proc/self/cgroup": "0::/\n", ".dockerenv": ""}, {}),
        ({"proc/self/cgroup": "0::/\n"}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}),
    ],
)
def test_the_machine_id_of_an_image_is_not_that_of_the_host(
    tree: Tree, files: dict[str, str], environ: dict[str, str]
) -> None:
    """Every container of the image would be on one host. Mounted from the host, it is the host's."""
    root = tree({"etc/machine-id": MACHINE, "proc/self/mountinfo": BARE, **files})
    assert "host.id" not in ForeshockResourceDetector(root=root, environ=environ).detect().attributes

    tree({"proc/self/mountinfo": BARE + mount("/etc/machine-id", "/etc/machine-id")})
    assert ForeshockResourceDetector(root=root, environ=environ).detect().attributes["host.id"] == MACHINE


def test_a_service_needs_one_variable() -> None:
    """The SDK of a real process loads the detector by its entry point; settings of the user win."""
    script = (
        "import json, os; from opentelemetry.sdk.resources import Resource;"
        "print(json.dumps([os.getpid(), dict(Resource.create().attributes)]))"
    )
    environ = {
        **os.environ,
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "foreshock",
        "OTEL_RESOURCE_ATTRIBUTES": "host.id=node-9",
        "OTEL_SERVICE_NAME": "chat",
        "CUDA_VISIBLE_DEVICES": "GPU-8932f937,1",
    }
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True)

    pid, attributes = json.loads(done.stdout)
    assert done.stderr == ""
    assert attributes["process.pid"] == pid
    assert attributes["foreshock.gpu.visible"] == ["GPU-8932f937", "1"]
    assert (attributes["host.id"], attributes["service.name"]) == ("node-9", "chat")


def test_a_service_loads_nothing_of_the_exporter_but_the_detector() -> None:
    """It starts as fast as before, and loads no driver."""
    script = (
        "import sys, opentelemetry.sdk.resources; before = set(sys.modules);"
        "import foreshock_exporter.attribution.resource_detector;"
        "print(*sorted(name for name in set(sys.modules) - before if name.startswith(('foreshock', 'nv', 'pynvml'))))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.split() == [
        "foreshock_exporter",
        "foreshock_exporter.attribution",
        "foreshock_exporter.attribution.cgroup",
        "foreshock_exporter.attribution.host_identity",
        "foreshock_exporter.attribution.resource_detector",
    ]
