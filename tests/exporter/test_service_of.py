"""The service of a process, from trees like /proc."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_exporter.cgroup import parse_cgroup, placement
from foreshock_exporter.service import ServiceOf
from foreshock_exporter.service_of import (
    MAX_LABEL,
    ProcResolver,
    clean,
    from_environ,
    parse_environ,
    program,
    start_time,
    workload,
)

if TYPE_CHECKING:
    from tests.exporter.conftest import Tree

CONTAINER = "0123456789abcdef" * 4
POD = "3f2b9a10-5c4d-4e6f-8a7b-9c0d1e2f3a4b"
STAT = "42 (a (tricky) name) S 1 42 42 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 9 0 {started} 1000 200\n"
KUBERNETES = f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD.replace('-', '_')}.slice/cri-containerd-{CONTAINER}.scope\n"  # noqa: E501 - as the kernel writes it


def proc(
    cgroup: str = "0::/\n", environ: str = "", comm: str = "server", cmdline: str = "", started: int = 777
) -> dict[str, str]:
    """Files of process 42."""
    files = {
        "stat": STAT.format(started=started),
        "cgroup": cgroup,
        "environ": environ,
        "comm": comm + "\n",
        "cmdline": cmdline,
    }
    return {f"proc/42/{name}": content for name, content in files.items()}


def resolver(root: Path, *, environ: bool = True) -> ProcResolver:
    return ProcResolver(root / "proc", root, environ=environ)


@pytest.mark.parametrize(
    ("case", "files", "expected"),
    [
        ("OpenTelemetry's own variable wins over everything",
         proc(KUBERNETES, "OTEL_SERVICE_NAME=chat\0OTEL_RESOURCE_ATTRIBUTES=service.name=x,service.namespace=shop\0"),
         ServiceOf("shop", "chat", "otel")),
        ("its resource attributes come next, percent-decoded",
         proc("0::/system.slice/a.service\n", "A=1\0OTEL_RESOURCE_ATTRIBUTES= service.name = chat%20model ,a=b\0"),
         ServiceOf("", "chat model", "otel")),
        ("an empty variable is as good as none",
         proc("0::/system.slice/vllm.service\n", "OTEL_SERVICE_NAME=\0"), ServiceOf("", "vllm", "systemd")),
        ("a pod is its workload in its namespace", proc(KUBERNETES), ServiceOf("prod", "vllm-llama", "kubernetes")),
        ("a pod of the other cgroup driver",
         proc(f"11:memory:/kubepods/burstable/pod{POD}/{CONTAINER}\n1:name=systemd:/\n"),
         ServiceOf("prod", "vllm-llama", "kubernetes")),
        ("a Slurm job by its name",
         proc("0::/system.slice/slurmstepd.scope/job_981/step_0/user/task_0\n", "SLURM_JOB_NAME=train\0"),
         ServiceOf("", "train", "slurm")),
        ("a Slurm job of cgroup version 1, by its number where the name is not readable",
         proc("8:memory:/slurm/uid_1000/job_981/step_0\n"), ServiceOf("", "slurm-job-981", "slurm")),
        ("a systemd unit", proc("0::/system.slice/vllm@llama.service\n"), ServiceOf("", "vllm@llama", "systemd")),
        ("a unit of a user's manager",
         proc("0::/user.slice/user-1000.slice/user@1000.service/app.slice/notebook.service\n"),
         ServiceOf("", "notebook", "systemd")),
        ("the manager of a user's session is no service",
         proc("0::/user.slice/user-1000.slice/user@1000.service/session.scope\n", comm="train"),
         ServiceOf("", "train", "executable")),
        ("a container of Docker", proc(f"0::/system.slice/docker-{CONTAINER}.scope\n"),
         ServiceOf("", "container-0123456789ab", "container")),
        ("a login session by its executable", proc("0::/user.slice/user-0.slice/session-3.scope\n", comm="nbody"),
         ServiceOf("", "nbody", "executable")),
        ("a script by the script", proc(comm="python3.11", cmdline="python3.11\0-u\0/srv/train.py\0--password=x\0"),
         ServiceOf("", "train", "executable")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_service_is_found_in_order(case: str, files: Mapping[str, str], expected: ServiceOf, tree: Tree) -> None:
    root = tree({**files, f"var/log/pods/prod_vllm-llama-6d5f9c7b8d-x2x9k_{POD}/main/0.log": ""})
    assert resolver(root)(42) == expected, case


def test_a_process_that_is_gone_has_no_service(tree: Tree) -> None:
    assert resolver(tree({"proc/1/stat": ""}))(42) is None
    assert resolver(tree({"proc/1/stat": ""}))(1) is None


def test_the_environment_is_left_alone_when_told_so(tree: Tree) -> None:
    root = tree(proc("0::/system.slice/vllm.service\n", "OTEL_SERVICE_NAME=chat\0"))
    assert resolver(root, environ=False)(42) == ServiceOf("", "vllm", "systemd")


def test_a_reused_pid_is_a_new_process(tree: Tree) -> None:
    root = tree(proc(comm="one"))
    find = resolver(root)
    assert find(42) == ServiceOf("", "one", "executable")
    tree(proc(comm="other"))
    assert find(42) == ServiceOf("", "one", "executable"), "the same start time is the same process: not read again"
    tree(proc(comm="other", started=778))
    assert find(42) == ServiceOf("", "other", "executable")


def test_a_pod_gets_its_name_when_the_entry_appears(tree: Tree) -> None:
    find = resolver(tree(proc(KUBERNETES)))
    assert find(42) == ServiceOf("", f"pod-{POD}", "kubernetes")
    tree({f"var/log/pods/prod_trainer-0_{POD}/main/0.log": ""})
    assert find(42) == ServiceOf("prod", "trainer", "kubernetes")


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
        assert ProcResolver(Path("/proc"), tmp_path)(child.pid) == ServiceOf("", "real", "otel")
        child.communicate()


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        ("vllm-llama-6d5f9c7b8d-x2x9k", "vllm-llama"),
        ("dcgm-vqbz7", "dcgm"),
        ("trainer-0", "trainer"),
        ("nightly-28391234-kx2mz", "nightly"),
        ("batch-embed", "batch-embed"),
        ("plain", "plain"),
    ],
)
def test_a_pod_is_named_after_what_made_it(pod: str, expected: str) -> None:
    assert workload(pod) == expected


@pytest.mark.parametrize(
    ("executable", "cmdline", "expected"),
    [
        ("nbody", b"nbody\0--n\0", "nbody"),
        ("python3", b"python3\0-m\0vllm.entrypoints.api\0--model\0x\0", "vllm.entrypoints.api"),
        ("python3.11", b"python3\0-W\0ignore\0/a/b/serve.py\0", "serve"),
        ("python3", b"python3\0-c\0import secrets\0", "python3"),
        ("python3", b"", "python3"),
        ("java", b"java\0-jar\0/opt/engine.jar\0", "engine.jar"),
    ],
)
def test_an_interpreter_is_named_after_what_it_runs_and_never_by_its_arguments(
    executable: str, cmdline: bytes, expected: str
) -> None:
    assert program(executable, cmdline) == expected


def test_a_container_inside_a_cgroup_namespace_is_found() -> None:
    paths = parse_cgroup(f"0::/../../pod{POD}/{CONTAINER}\n")
    assert (placement(paths).pod, placement(paths).container) == (POD, CONTAINER)


def test_a_static_pod_has_a_uid_without_dashes() -> None:
    assert placement([f"/kubepods/besteffort/pod{POD.replace('-', '')}/{CONTAINER}"]).pod == POD.replace("-", "")


def test_the_unified_hierarchy_is_read_first() -> None:
    assert parse_cgroup("4:memory:/a\n0::/b\n3:cpu:/a\nbroken\n2:pids:/\n") == ("/b", "/a")


@given(st.text())
def test_any_text_becomes_a_bounded_printable_label(text: str) -> None:
    label = clean(text)
    assert len(label) <= MAX_LABEL
    assert label.isprintable()
    assert clean(label).strip() == label.strip()


@given(st.binary())
def test_no_environment_or_stat_breaks_the_parsers(raw: bytes) -> None:
    from_environ(parse_environ(raw))
    from_environ({"OTEL_RESOURCE_ATTRIBUTES": raw.decode(errors="replace")})
    start_time(raw)
    program("python", raw)


@given(st.text())
def test_no_cgroup_breaks_the_parser(text: str) -> None:
    placement(parse_cgroup(text))
