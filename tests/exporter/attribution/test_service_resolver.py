"""Services of processes on trees like /proc."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from foreshock_exporter.attribution import mps
from foreshock_exporter.attribution.service_resolver import (
    CHECK_INTERVAL_SECONDS,
    MAX_CACHED_PROCESSES,
    POD_NAME_WAIT_SECONDS,
    ProcResolver,
    from_environ,
    parent_of,
    parse_environ,
    start_time,
)
from foreshock_exporter.exposition.text_format import render
from foreshock_exporter.model.family import MAX_LABEL_CHARS, Family, Sample, label_value
from foreshock_exporter.model.service import AttributedService as Service
from foreshock_exporter.model.service import MpsProcess

if TYPE_CHECKING:
    from tests.exporter.conftest import Tree

CONTAINER = "0123456789abcdef" * 4
NODE = "fedcba9876543210" * 4
POD = "3f2b9a10-5c4d-4e6f-8a7b-9c0d1e2f3a4b"
POD_SYSTEMD = POD.replace("-", "_")
STAT = "{pid} (a (tricky) name) S {parent} 42 42 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 9 0 {started} 1000 200\n"
KUBERNETES = f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD_SYSTEMD}.slice/cri-containerd-{CONTAINER}.scope\n"  # noqa: E501 - as the kernel writes it


class Watch:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def proc(
    cgroup: str = "0::/\n",
    environ: str = "",
    comm: str = "server",
    cmdline: str = "",
    started: int = 777,
    pid: int = 42,
    parent: int = 1,
) -> dict[str, str]:
    """Files of a process."""
    files = {
        "stat": STAT.format(started=started, pid=pid, parent=parent),
        "cgroup": cgroup,
        "environ": environ,
        "comm": comm + "\n",
        "cmdline": cmdline,
    }
    return {f"proc/{pid}/{name}": content for name, content in files.items()}


def resolver(root: Path, now: Watch | None = None, *, environ: bool = True) -> ProcResolver:
    return ProcResolver(root / "proc", root, environ=environ, now=now or Watch())


@pytest.mark.parametrize(
    ("case", "files", "expected"),
    [
        ("OpenTelemetry's own variable wins over everything",
         proc(KUBERNETES, "OTEL_SERVICE_NAME=chat\0OTEL_RESOURCE_ATTRIBUTES=service.name=x,service.namespace=shop\0"),
         Service("shop", "chat", "otel")),
        ("its resource attributes come next, percent-decoded",
         proc("0::/system.slice/a.service\n", "A=1\0OTEL_RESOURCE_ATTRIBUTES= service.name = chat%20model ,a=b\0"),
         Service("", "chat model", "otel")),
        ("an empty variable is as good as none",
         proc("0::/system.slice/vllm.service\n", "OTEL_SERVICE_NAME=\0"), Service("", "vllm", "systemd")),
        ("a pod is its workload in its namespace", proc(KUBERNETES), Service("prod", "vllm-llama", "kubernetes")),
        ("a pod of the other cgroup driver",
         proc(f"11:memory:/kubepods/burstable/pod{POD}/{CONTAINER}\n1:name=systemd:/\n"),
         Service("prod", "vllm-llama", "kubernetes")),
        ("a pod before the Slurm job, unit and container that hold its node",
         proc(f"0::/slurm/uid_1/job_7/system.slice/docker-{NODE}.scope/kubelet.service/pod{POD}/{CONTAINER}\n"),
         Service("prod", "vllm-llama", "kubernetes")),
        ("a Slurm job by its name",
         proc("0::/system.slice/slurmstepd.scope/job_981/step_0/user/task_0\n", "SLURM_JOB_NAME=train\0"),
         Service("", "train", "slurm", "981")),
        ("a Slurm job of a user, in an array",
         proc("0::/system.slice/slurmstepd.scope/job_983/step_0/user/task_0\n",
              "SLURM_JOB_NAME=train\0SLURM_JOB_USER=ada\0SLURM_ARRAY_JOB_ID=981\0SLURM_ARRAY_TASK_ID=2\0"),
         Service("ada", "train", "slurm", "981_2")),
        ("a deployment of Ray Serve, whatever method runs",
         proc("0::/user.slice/user-0.slice/session-3.scope\n", "RAY_JOB_ID=02000000\0", comm="python3.12",
              cmdline="ray::ServeReplica:chat:LLMDeployment.handle_request()\0\0\0"),
         Service("chat", "LLMDeployment", "ray", "02000000")),
        ("a deployment of Ray Serve without an application",
         proc(cmdline="ray::ServeReplica:embed-v2\0"), Service("", "embed-v2", "ray")),
        ("a deployment of Ray Serve with a colon, in a pod",
         proc(KUBERNETES, cmdline="ray::ServeReplica:chat:LLMServer:qwen-0_5b.generate()\0"),
         Service("chat", "LLMServer:qwen-0_5b", "ray")),
        ("an actor of Ray in a pod is its pod, whose class others have too",
         proc(KUBERNETES, cmdline="ray::Trainer.fit\0"), Service("prod", "vllm-llama", "kubernetes")),
        ("an actor of Ray outside Kubernetes", proc("0::/slurm/uid_1/job_7\n", cmdline="ray::Trainer.fit\0"),
         Service("", "Trainer", "ray")),
        ("a class of Ray that runs whatever program",
         proc("0::/system.slice/vllm.service\n", cmdline="ray::RayWorkerWrapper.execute_method\0"),
         Service("", "vllm", "systemd")),
        ("a private class of Ray Train",
         proc("0::/slurm/uid_1/job_7\n", "SLURM_JOB_NAME=train\0", cmdline="ray::_Inner.train\0"),
         Service("", "train", "slurm", "7")),
        ("a task of Ray, without its arguments", proc(cmdline="ray::train_fold(key=secret)\0"),
         Service("", "train_fold", "ray")),
        ("a worker of Ray without a task is its pod",
         proc(KUBERNETES, cmdline="ray::IDLE\0"), Service("prod", "vllm-llama", "kubernetes")),
        ("a unit that systemd escaped",
         proc("0::/system.slice/vllm@llama\\x2d3\\x2f8b.service\n"), Service("", "vllm@llama-3/8b", "systemd")),
        ("a Slurm job of cgroup version 1, by its number where the name is not readable",
         proc("8:memory:/slurm/uid_1000/job_981/step_0\n"), Service("", "slurm-job-981", "slurm", "981")),
        ("a Slurm job in no cgroup of the job",
         proc("0::/system.slice/slurmd.service\n", "SLURM_JOB_ID=981\0"), Service("", "slurm-job-981", "slurm", "981")),
        ("a unit that was started from a Slurm job",
         proc("0::/system.slice/vllm.service\n", "SLURM_JOB_ID=981\0"), Service("", "vllm", "systemd")),
        ("a systemd unit", proc("0::/system.slice/vllm@llama.service\n"), Service("", "vllm@llama", "systemd")),
        ("a unit that runs its container itself",
         proc(f"0::/system.slice/vllm.service/libpod-payload-{CONTAINER}\n"), Service("", "vllm", "systemd")),
        ("a unit of a user's manager",
         proc("0::/user.slice/user-1000.slice/user@1000.service/app.slice/notebook.service\n"),
         Service("", "notebook", "systemd")),
        ("the manager of a user's session is no service",
         proc("0::/user.slice/user-1000.slice/user@1000.service/session.scope\n", comm="train"),
         Service("", "train", "executable")),
        ("a container of Docker", proc(f"0::/system.slice/docker-{CONTAINER}.scope\n"),
         Service("", "container-0123456789ab", "container")),
        ("a container below the unit of its daemon is not the daemon",
         proc(f"0::/system.slice/docker.service/docker/{CONTAINER}\n"),
         Service("", "container-0123456789ab", "container")),
        ("a login session by its executable", proc("0::/user.slice/user-0.slice/session-3.scope\n", comm="nbody"),
         Service("", "nbody", "executable")),
        ("a script by the script", proc(comm="python3.11", cmdline="python3.11\0-u\0/srv/train.py\0--password=x\0"),
         Service("", "train", "executable")),
        ("a worker of multiprocessing by what spawned it",
         {**proc(comm="python3", cmdline="python3\0-c\0from multiprocessing…\0--multiprocessing-fork\0", parent=41),
          **proc(comm="python3", cmdline="python3\0/srv/train.py\0", pid=41)},
         Service("", "train", "executable")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_service_is_found_in_order(case: str, files: Mapping[str, str], expected: Service, tree: Tree) -> None:
    root = tree({**files, f"var/log/pods/prod_vllm-llama-6d5f9c7b8d-x2x9k_{POD}/main/0.log": ""})
    assert resolver(root)(42) == expected, case


@pytest.mark.parametrize(
    ("text", "limit"),
    [("30", 0.3), ("12.5", 0.125), ("100", 1.0), ("0", None), ("101", None), ("", None), ("nan", None), ("-5", None)],
)
def test_the_limit_of_an_mps_client_is_in_its_environment(text: str, limit: float | None, tree: Tree) -> None:
    """Also after its pod got a name."""
    now = Watch()
    find = resolver(tree(proc(KUBERNETES, f"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE={text}\0")), now)
    assert find(42) == Service("", f"pod-{POD}", "kubernetes", mps=MpsProcess(limit))
    tree({f"var/log/pods/prod_trainer-0_{POD}/main/0.log": ""})
    now.time += CHECK_INTERVAL_SECONDS
    assert find(42) == Service("prod", "trainer", "kubernetes", mps=MpsProcess(limit))


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("0=1G", 2.0**30),
        ("0=512M,1=512MB", 2.0**29),
        ("0=1G,1=2G", None),
        ("0=1G,1=", None),
        ("0=0G", None),
        ("1G", None),
        ("", None),
    ],
)
def test_the_memory_limit_of_an_mps_client_is_known_if_all_its_gpus_have_the_same(
    text: str, limit: float | None
) -> None:
    """Its numbers of GPUs are its own."""
    assert mps.memory_limit({"CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": text}) == limit


def test_an_mps_server_is_known_by_its_program_and_its_daemon_by_being_its_parent(tree: Tree) -> None:
    now, server = Watch(), "/usr/bin/nvidia-cuda-mps-server\0"
    daemon = {"proc/30/cmdline": "nvidia-cuda-mps-control\0-d\0"}
    environ = "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE=50\0"
    find = resolver(tree(proc(environ=environ, cmdline=server, parent=30) | daemon), now)

    def said() -> MpsProcess:
        now.time += CHECK_INTERVAL_SECONDS
        found = find(42)
        assert found is not None
        return found.mps

    assert said() == MpsProcess(0.5, None, True, True)
    tree(proc(environ=environ, cmdline=server, parent=1))
    assert said() == MpsProcess(0.5, None, True, False), "an orphan, whose daemon has ended"
    tree(proc(environ=environ, cmdline=server, parent=1, started=778))
    assert said() == MpsProcess(0.5, None, True, None), "who started this one is unknown"
    tree(proc(environ=environ, cmdline="python\0nvidia-cuda-mps-server\0", started=779))
    assert not said().is_server


def test_a_process_that_is_gone_has_no_service(tree: Tree) -> None:
    assert resolver(tree({"proc/1/stat": ""}))(42) is None
    assert resolver(tree({"proc/1/stat": ""}))(1) is None


def test_the_environment_is_not_read_if_disabled(tree: Tree) -> None:
    root = tree(proc("0::/system.slice/vllm.service\n", "OTEL_SERVICE_NAME=chat\0"))
    assert resolver(root, environ=False)(42) == Service("", "vllm", "systemd")


def test_a_reused_pid_is_a_new_process(tree: Tree) -> None:
    """Within a second it is trusted; later the start time is compared."""
    now = Watch()
    find = resolver(tree(proc(comm="one")), now)
    one, other = Service("", "one", "executable"), Service("", "other", "executable")
    assert find(42) == one
    tree(proc(comm="other"))
    now.time += CHECK_INTERVAL_SECONDS
    assert find(42) == one, "the same start time is the same process: not read again"
    tree(proc(comm="other", started=778))
    now.time += CHECK_INTERVAL_SECONDS / 2
    assert find(42) == one
    now.time += CHECK_INTERVAL_SECONDS / 2
    assert find(42) == other


def test_a_process_that_has_gone_is_forgotten_within_a_second(tree: Tree) -> None:
    now = Watch()
    root = tree(proc(comm="one"))
    find = resolver(root, now)
    assert find(42) is not None
    (root / "proc/42/stat").unlink()
    now.time += CHECK_INTERVAL_SECONDS
    assert find(42) is None


def test_a_process_that_ends_while_it_is_read_is_not_taken_for_the_next_with_its_pid(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pid passes to another process after the start time was read and before the environment is."""
    root = tree(proc(environ="OTEL_SERVICE_NAME=first\0"))
    find = resolver(root)
    environ_of = find._environ_of

    def reused(folder: Path) -> bytes:
        tree(proc(environ="OTEL_SERVICE_NAME=second\0", started=778))
        return environ_of(folder)

    monkeypatch.setattr(find, "_environ_of", reused)
    assert find(42) is None
    assert find(42) == Service("", "second", "otel")


def test_a_pod_gets_its_name_when_the_entry_appears(tree: Tree) -> None:
    now = Watch()
    find = resolver(tree(proc(KUBERNETES)), now)
    assert find(42) == Service("", f"pod-{POD}", "kubernetes")
    tree({f"var/log/pods/prod_trainer-0_{POD}/main/0.log": ""})
    now.time += CHECK_INTERVAL_SECONDS
    assert find(42) == Service("prod", "trainer", "kubernetes")


def test_the_search_for_a_pod_name_ends(tree: Tree) -> None:
    now = Watch()
    find = resolver(tree(proc(KUBERNETES)), now)
    unnamed = find(42)
    tree({f"var/log/pods/prod_trainer-0_{POD}/main/0.log": ""})
    now.time += POD_NAME_WAIT_SECONDS
    assert find(42) == unnamed


def test_no_more_processes_than_the_limit_are_remembered(tree: Tree) -> None:
    now = Watch()
    root = tree(proc())
    for pid in range(1000, 1000 + MAX_CACHED_PROCESSES + 5):
        (root / f"proc/{pid}").symlink_to(root / "proc/42")
    find = resolver(root, now)
    for pid in range(1000, 1000 + MAX_CACHED_PROCESSES + 5):
        assert find(pid) is not None
    assert len(find._cache) == MAX_CACHED_PROCESSES
    assert 1004 not in find._cache
    assert 1005 in find._cache


def test_an_unreadable_environment_is_logged_once_with_the_remedy(
    tree: Tree, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree(proc("0::/system.slice/vllm.service\n") | proc("0::/system.slice/tts.service\n", pid=43))
    find = resolver(root)

    path_open = Path.open

    def refusing(path: Path, mode: str) -> object:
        if path.name == "environ":
            raise PermissionError(13, "Permission denied", str(path))
        return path_open(path, mode)

    monkeypatch.setattr(Path, "open", refusing)
    with caplog.at_level(logging.WARNING, "foreshock_exporter"):
        assert find(42) == Service("", "vllm", "systemd")
        assert find(43) == Service("", "tts", "systemd")
    (message,) = caplog.messages
    assert "CAP_SYS_PTRACE" in message


def test_a_real_process_is_found_by_its_environment(tmp_path: Path) -> None:
    code = "import sys; sys.stdout.write('up'); sys.stdout.flush(); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "OTEL_SERVICE_NAME": "real"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.read(2) == b"up"
        assert ProcResolver(Path("/proc"), tmp_path)(child.pid) == Service("", "real", "otel")
        child.communicate()


@given(st.text())
@example("x" * 3 * MAX_LABEL_CHARS)
@example("x" * (MAX_LABEL_CHARS - 1) + " y")
def test_any_text_becomes_a_bounded_printable_label(text: str) -> None:
    label = label_value(text)
    assert len(label) <= MAX_LABEL_CHARS
    assert label.isprintable()
    assert label_value(label) == label


FILE_NAME = st.binary(min_size=1, max_size=80).filter(lambda raw: not {0, ord("/")} & set(raw))
SERVICE = Family("service", "gauge", ("name", "namespace", "source"), "A service.")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(
    environ=st.one_of(
        st.binary(),
        st.binary().map(lambda raw: b"OTEL_SERVICE_NAME=" + raw),
        st.binary().map(lambda raw: b"OTEL_RESOURCE_ATTRIBUTES=service.name=" + raw + b",service.namespace=" + raw),
    ),
    cgroup=st.one_of(
        st.binary(), FILE_NAME.map(lambda raw: b"0::/system.slice/" + raw + b".service\n"), st.just(KUBERNETES.encode())
    ),
    comm=st.binary(max_size=16),
    cmdline=st.binary(),
    executable=FILE_NAME,
    pod=FILE_NAME,
)
def test_whatever_a_process_calls_itself_stays_inside_its_label(
    environ: bytes, cgroup: bytes, comm: bytes, cmdline: bytes, executable: bytes, pod: bytes, tmp_path: Path
) -> None:
    """The values are bounded and printable, and a scraper reads them back as they were written, one series each."""
    folder = tmp_path / "proc/42"
    folder.mkdir(parents=True, exist_ok=True)
    named = tmp_path / "var/log/pods" / f"ns_{os.fsdecode(pod)}_{POD}"
    named.mkdir(parents=True, exist_ok=True)
    files = {"stat": STAT.format(started=7, pid=42, parent=1).encode(), "environ": environ, "cgroup": cgroup}
    for name, content in {**files, "comm": comm, "cmdline": cmdline}.items():
        (folder / name).write_bytes(content)
    (folder / "exe").unlink(missing_ok=True)
    (folder / "exe").symlink_to(os.fsdecode(executable))
    service = resolver(tmp_path)(42)
    named.rmdir()
    if service is None:
        return
    labels = (service.name, service.namespace, service.source)
    assert service.name
    assert all(len(value) <= MAX_LABEL_CHARS and value.isprintable() for value in labels)
    (family,) = text_string_to_metric_families(render([(SERVICE, [Sample(labels, 1.0)])]).decode())
    assert [tuple(sample.labels[name] for name in SERVICE.labels) for sample in family.samples] == [labels]


@given(st.binary())
def test_no_environment_or_stat_breaks_the_parsers(raw: bytes) -> None:
    from_environ(parse_environ(raw))
    from_environ({"OTEL_RESOURCE_ATTRIBUTES": raw.decode(errors="replace")})
    start_time(raw)
    parent_of(raw)
