"""Placement from all known forms of cgroup paths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_exporter.attribution.cgroup import parse_cgroup, placement

CONTAINER = "0123456789abcdef" * 4
NODE = "fedcba9876543210" * 4
POD = "3f2b9a10-5c4d-4e6f-8a7b-9c0d1e2f3a4b"
POD_SYSTEMD = POD.replace("-", "_")
STATIC_POD = POD.replace("-", "")
UNIFIED, LEGACY = "0::", "4:memory:"


@pytest.mark.parametrize(
    ("written_by", "path", "pod", "container", "job", "unit"),
    [
        ("the kubelet, cgroupfs driver", f"/kubepods/besteffort/pod{POD}/{CONTAINER}", POD, CONTAINER, None, None),
        ("the kubelet, guaranteed", f"/kubepods/pod{POD}/{CONTAINER}", POD, CONTAINER, None, None),
        ("the kubelet, systemd driver, CRI-O",
         f"/kubepods.slice/kubepods-pod{POD_SYSTEMD}.slice/crio-{CONTAINER}.scope", POD, CONTAINER, None, None),
        ("CRI-O with its inner cgroup",
         f"/kubepods.slice/kubepods-pod{POD_SYSTEMD}.slice/crio-{CONTAINER}.scope/a", POD, CONTAINER, None, None),
        ("containerd, given a systemd path by a cgroupfs kubelet",
         f"/system.slice/containerd.service/kubepods-burstable-pod{POD_SYSTEMD}.slice:cri-containerd:{CONTAINER}",
         POD, CONTAINER, None, None),
        ("the kubelet in a container of kind",
         f"/system.slice/docker-{NODE}.scope/kubelet.slice/kubelet-pod{POD_SYSTEMD}.slice/cri-containerd-{CONTAINER}.scope",
         POD, CONTAINER, None, None),
        ("the kubelet in a container of kind, cgroupfs",
         f"/docker/{NODE}/kubelet/kubepods/burstable/pod{POD}/{CONTAINER}", POD, CONTAINER, None, None),
        ("k3s", f"/system.slice/k3s.service/kubepods/burstable/pod{POD}/{CONTAINER}", POD, CONTAINER, None, None),
        ("a static pod", f"/kubepods/pod{STATIC_POD}/{CONTAINER}", STATIC_POD, CONTAINER, None, None),
        ("a neighbor in a cgroup namespace", f"/../../pod{POD}/{CONTAINER}", POD, CONTAINER, None, None),
        ("Docker, cgroupfs driver", f"/docker/{CONTAINER}", None, CONTAINER, None, None),
        ("Docker, systemd driver", f"/system.slice/docker-{CONTAINER}.scope", None, CONTAINER, None, None),
        ("nerdctl", f"/system.slice/nerdctl-{CONTAINER}.scope", None, CONTAINER, None, None),
        ("Podman of root", f"/machine.slice/libpod-{CONTAINER}.scope/container", None, CONTAINER, None, None),
        ("Podman of a user",
         f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{CONTAINER}.scope/container",
         None, CONTAINER, None, None),
        ("Slurm, cgroup/v1", "/slurm/uid_1000/job_981/step_0/task_3", None, None, "981", None),
        ("Slurm, cgroup/v1, several daemons", "/slurm_node7/uid_1000/job_981/step_batch", None, None, "981", None),
        ("Slurm, cgroup/v2", "/system.slice/slurmstepd.scope/job_981/step_0/user/task_0", None, None, "981", None),
        ("Slurm, cgroup/v2, several daemons", "/a.slice/n7_slurmstepd.scope/job_981/step_0", None, None, "981", None),
        ("another program that writes job_", "/batch/job_981/worker", None, None, None, None),
        ("systemd", "/system.slice/system-vllm.slice/vllm@8000.service", None, None, None, "vllm@8000"),
        ("systemd, escaped for the kernel", "/system.slice/_cpu.service", None, None, None, "cpu"),
        ("systemd, delegated", "/system.slice/vllm.service/workers", None, None, None, "vllm"),
        ("systemd, a user's unit", "/user.slice/user-7.slice/user@7.service/app.slice/lab.service", None, None, None,
         "lab"),
        ("systemd, a login", "/user.slice/user-7.slice/session-2.scope", None, None, None, None),
        ("systemd, the daemon of Slurm", "/system.slice/slurmd.service", None, None, None, None),
    ],
    ids=lambda value: None,
)  # fmt: skip
@pytest.mark.parametrize("hierarchy", [UNIFIED, LEGACY])
def test_a_cgroup_path_gives_the_placement(
    hierarchy: str,
    written_by: str,
    path: str,
    pod: str | None,
    container: str | None,
    job: str | None,
    unit: str | None,
) -> None:
    place = placement(parse_cgroup(f"9:name=systemd:/\n{hierarchy}{path}\n"))
    assert (place.pod, place.container, place.slurm_job, place.unit) == (pod, container, job, unit), written_by


def test_the_unified_hierarchy_is_read_first() -> None:
    assert parse_cgroup("4:memory:/a\n0::/b\n3:cpu:/a\nbroken\n2:pids:/\n") == ("/b", "/a")


@given(st.text())
def test_no_cgroup_breaks_the_parser(text: str) -> None:
    placement(parse_cgroup(text))


def test_a_long_path_of_slurm_names_takes_linear_time() -> None:
    """Squared time would be minutes; the job after the last name still counts."""
    name = "slurm" * 100_000
    assert placement([f"/{name}"]).slurm_job is None
    assert placement([f"/{name}/job_7"]).slurm_job == "7"
