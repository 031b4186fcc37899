"""PIDs of containers and of the host, on file trees and in real namespaces if available."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_exporter.attribution.container import INITIAL_PID_NAMESPACE, join_keys, parse_nspid, shows_host_pids
from foreshock_exporter.attribution.service_resolver import ProcResolver
from foreshock_exporter.exporter import Exporter
from foreshock_exporter.model.service import AttributedService

if TYPE_CHECKING:
    from tests.exporter.conftest import ScriptedGpu, ScriptedHost, Series, Tree

ONE, OTHER = "1a" * 32, "2b" * 32
POD = "3f2b9a10-5c4d-4e6f-8a7b-9c0d1e2f3a4b"
STAT = "{pid} (python) S 1 42 42 0 -1 {flags} 1 0 0 0 1 2 0 0 20 0 9 0 777 1000 200\n"
KERNEL_THREAD = 0x00200000
ASK = """
from pathlib import Path
from foreshock_exporter.attribution.container import shows_host_pids
print(shows_host_pids(Path("/proc")))
"""


def process(pid: int, inside: int, container: str, service: str) -> dict[str, str]:
    """Files of a process of the host that has another number inside its container."""
    files = {
        "stat": STAT.format(pid=pid, flags=4194560),
        "status": f"Name:\tpython\nPid:\t{pid}\nNSpid:\t{pid}\t{inside}\n",
        "cgroup": f"0::/kubepods/pod{POD}/{container}\n",
        "environ": f"OTEL_SERVICE_NAME={service}\0",
    }
    return {f"proc/{pid}/{name}": text for name, text in files.items()}


def linked(root: Path, process: str, namespace: int) -> None:
    """Let a process of the tree be in a pid namespace."""
    folder = root / "proc" / process / "ns"
    folder.mkdir(parents=True)
    (folder / "pid").symlink_to(f"pid:[{namespace}]")


def test_two_processes_with_pid_1_in_their_containers_are_distinguished(tree: Tree) -> None:
    """NVML reports PIDs of the host; each leads to its own service, container, and span."""
    root = tree({**process(1001, 1, ONE, "chat"), **process(1002, 1, OTHER, "tts")})
    resolve = ProcResolver(root / "proc", root)
    assert [resolve(1001), resolve(1002)] == [
        AttributedService("", "chat", "otel"),
        AttributedService("", "tts", "otel"),
    ]
    assert join_keys(root / "proc", 1001) == (f"container:{ONE}/1", f"pod:{POD}/1")
    assert join_keys(root / "proc", 1002) == (f"container:{OTHER}/1", f"pod:{POD}/1")


@pytest.mark.parametrize(
    ("status", "numbers"),
    [
        (b"Name:\tx\nPid:\t42\nNSpid:\t42\n", (42,)),
        (b"Name:\tx\nPid:\t42\nNSpid:\t42\t17\t1\n", (42, 17, 1)),
        (b"Name:\told kernel\nPid:\t42\nPPid:\t1\n", (42,)),
        (b"Name:\tNSpid:\t7\nPid:\t42\n", (42,)),
        (b"Pid:\tforty\n", ()),
        (b"", ()),
    ],
)
def test_the_numbers_of_a_process_run_from_the_host_to_its_innermost_namespace(
    status: bytes, numbers: tuple[int, ...]
) -> None:
    assert parse_nspid(status) == numbers


def test_a_process_of_the_host_is_in_no_container(tree: Tree) -> None:
    root = tree({"proc/7/status": "Pid:\t7\nNSpid:\t7\n", "proc/7/cgroup": "0::/system.slice/vllm.service\n"})
    assert join_keys(root / "proc", 7) == ("host/7",)


@given(st.binary())
def test_no_status_breaks_the_parser(raw: bytes) -> None:
    assert all(number >= 0 for number in parse_nspid(raw))


@pytest.mark.parametrize(
    ("case", "init", "reader", "second", "expected"),
    [
        ("process 1 is in the initial namespace", INITIAL_PID_NAMESPACE, 4026532178, None, True),
        ("the reader is, and process 1 may not be looked at", None, INITIAL_PID_NAMESPACE, None, True),
        ("the host's /proc in a container: kernel threads are seen", None, 4026532178, KERNEL_THREAD, True),
        ("a container's own /proc", 4026532178, 4026532178, 4194560, False),
        ("a container's own /proc with one process", 4026532178, 4026532178, None, False),
        ("nothing can be read", None, None, None, False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_proc_shows_the_hosts_pids_where_there_is_evidence_of_it(
    case: str, init: int | None, reader: int | None, second: int | None, expected: bool, tree: Tree
) -> None:
    root = tree({"proc/stat": ""} if second is None else {"proc/2/stat": STAT.format(pid=2, flags=second)})
    for name, namespace in (("1", init), ("self", reader)):
        if namespace is not None:
            linked(root, name, namespace)
    assert shows_host_pids(root / "proc") is expected, case


def holders(driver: ScriptedHost, procfs: Path, read: Callable[[bytes], Series]) -> dict[str, str]:
    """The service that an exporter of these GPUs and this /proc names for each GPU."""
    resolve = ProcResolver(procfs, procfs.parent)
    exporter = Exporter(driver, resolve, host_id="id", host_name="node", now=driver.now, timer=lambda: 0.0)
    exporter.sample()
    found = [dict(labels) for name, labels in read(exporter.render()) if name == "gpu_service_processes"]
    return {labels["gpu"]: labels["service_name"] for labels in found}


def test_the_gpus_of_two_processes_1_are_never_swapped(
    tree: Tree, scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu], series: Callable[[bytes], Series]
) -> None:
    """Whichever GPU a process holds, its series bear its own service: the number inside the container plays no part."""
    root = tree({**process(1001, 1, ONE, "chat"), **process(1002, 1, OTHER, "tts"), **process(1, 1, ONE, "init")})
    first, second = gpu(memory={1001: 1e9}), gpu(memory={1002: 1e9})
    assert holders(scripted(first, second), root / "proc", series) == {"0": "chat", "1": "tts"}
    assert holders(scripted(second, first), root / "proc", series) == {"0": "tts", "1": "chat"}


Namespaced = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def namespaced() -> Iterator[Namespaced]:
    """Run a program as process 1 of a separate pid namespace; ended after the test."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("the program unshare of util-linux is not here")
    probe = subprocess.run(
        [unshare, "--pid", "--fork", "--mount-proc", "true"], capture_output=True, text=True, check=False
    )
    if probe.returncode:
        pytest.skip(f"this machine allows no pid namespaces: {probe.stderr.strip()}")
    with ExitStack() as stack:

        def start(code: str, *options: str, **environ: str) -> subprocess.Popen[str]:
            child = stack.enter_context(
                subprocess.Popen(
                    [unshare, "--pid", "--fork", "--kill-child", *options, sys.executable, "-c", code],
                    env={**os.environ, **environ},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(child.kill)
            return child

        yield start


def test_real_processes_with_pid_1_are_distinguished(
    namespaced: Namespaced,
    scripted: Callable[..., ScriptedHost],
    gpu: type[ScriptedGpu],
    series: Callable[[bytes], Series],
    tmp_path: Path,
) -> None:
    """Two namespaces with a PID 1 each; their PIDs on the host differ."""
    code = "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()"
    services = ("chat", "tts")
    outer = [namespaced(code, "--mount-proc", OTEL_SERVICE_NAME=service) for service in services]
    says = [child.stdout.readline().strip() for child in outer if child.stdout]
    assert says == ["1", "1"]
    pids = [int(Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text()) for child in outer]
    resolve = ProcResolver(Path("/proc"), tmp_path)
    assert [resolve(pid) for pid in pids] == [AttributedService("", service, "otel") for service in services]
    assert [parse_nspid(Path(f"/proc/{pid}/status").read_bytes())[1:] for pid in pids] == [(1,), (1,)]
    assert not any(key.startswith("host/") for pid in pids for key in join_keys(Path("/proc"), pid))
    driver = scripted(*(gpu(memory={pid: 1e9}) for pid in pids))
    assert holders(driver, Path("/proc"), series) == {"0": "chat", "1": "tts"}


@pytest.mark.parametrize(
    ("case", "options"), [("its own /proc", ["--mount-proc"]), ("the host's /proc", [])], ids=["own", "host"]
)
def test_shows_host_pids_is_correct_in_a_real_container(case: str, options: list[str], namespaced: Namespaced) -> None:
    """Not with its own /proc; with the host's /proc as on the host."""
    child = namespaced(ASK, *options)
    answer, _ = child.communicate(timeout=60)
    assert answer.strip() == str(case == "the host's /proc" and shows_host_pids(Path("/proc")))
