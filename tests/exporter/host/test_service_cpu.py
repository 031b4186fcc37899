"""Waits of services for their host: files of cgroups, NUMA distance, and steal, from trees and a real cgroup."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_exporter.host.service_cgroup import cgroup_folders, read_cgroup
from foreshock_exporter.host.service_cpu import (
    HostTenant,
    ServiceCpu,
    Wait,
    add_readings,
    add_steal,
    local_cpus,
    parse_cpu_list,
    steal_by_cpu,
)

if TYPE_CHECKING:
    from tests.exporter.conftest import Tree

POD = "kubepods.slice/kubepods-pod1.slice/cri-containerd-a.scope"
PRESSURE = "some avg10=0.00 avg60=0.00 avg300=0.00 total={}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total={}\n"
GPU = "sys/bus/pci/devices/0000:1b:00.0"
TRAIN = ("train", "shop", "otel")
TICKS = os.sysconf("SC_CLK_TCK")


def stat(*stolen: int) -> str:
    """/proc/stat with the ticks that were stolen from each CPU, and many from one that is offline."""
    cpus = "".join(f"cpu{cpu} 1 0 0 0 0 0 0 {ticks} 0 0\n" for cpu, ticks in enumerate(stolen))
    return f"cpu  1 2 3 4 5 6 7 99999 9 0\n{cpus}intr 5\n"


def host(some: int, full: int, throttled: int, **files: str) -> dict[str, str]:
    """Files of a host with a pod: microseconds of pressure and of throttled time."""
    return {
        "proc/7/cgroup": f"0::/{POD}\n",
        "proc/7/status": "Name:\tpython\nCpus_allowed_list:\t0-3,8\n",
        "proc/stat": stat(some // 10_000, throttled // 10_000),
        f"cgroup/{POD}/cpu.pressure": PRESSURE.format(some, full),
        f"cgroup/{POD}/cpu.stat": f"usage_usec 5\nnr_periods 1\nnr_throttled 1\nthrottled_usec {throttled}\n",
        f"cgroup/{POD}/io.pressure": PRESSURE.format(some // 2, 0),
        f"cgroup/{POD}/memory.pressure": PRESSURE.format(full // 2, 0),
        f"cgroup/{POD}/memory.stat": f"workingset_refault_anon 7\nworkingset_refault_file {throttled // 1000}\n",
        f"{GPU}/numa_node": "1\n",
        f"{GPU}/local_cpulist": "2-5\n",
        **files,
    }


def collector(root: Path, now: list[float]) -> ServiceCpu:
    return with_tenants(root, now, [HostTenant("0", "GPU-a", "00000000:1B:00.0", TRAIN[:2], "otel", (7,))])


def with_tenants(root: Path, now: list[float], tenants: list[HostTenant]) -> ServiceCpu:
    return ServiceCpu(root / "proc", root / "sys", root / "cgroup", lambda: tenants, lambda: now[0])


def collected(run: ServiceCpu) -> dict[str, Mapping[tuple[str, ...], float]]:
    return {family.name: {sample.labels: sample.value for sample in samples} for family, samples in run()}  # type: ignore[union-attr]


def test_a_service_has_the_pressure_the_throttled_time_and_the_distance_of_its_pod(tree: Tree) -> None:
    now = [100.0]
    run = collector(tree(host(5_000_000, 1_000_000, 900_000)), now)
    assert collected(run)["gpu_service_cpu_waiting_seconds_total"] == {TRAIN: 0.0}, "it counts from the first reading"
    now[0] = 104.0
    tree(host(9_000_000, 3_000_000, 60_900_000))
    assert collected(run)["gpu_service_cpu_waiting_seconds_total"] == {TRAIN: 0.0}, "it is read every five seconds"
    now[0] = 110.0
    assert collected(run) == {
        "gpu_service_cpu_waiting_seconds_total": {TRAIN: 4.0},
        "gpu_service_cpu_stalled_seconds_total": {TRAIN: 2.0},
        "gpu_service_cpu_throttled_seconds_total": {TRAIN: 10.0},
        "gpu_service_host_io_waiting_seconds_total": {TRAIN: 2.0},
        "gpu_service_host_memory_waiting_seconds_total": {TRAIN: 1.0},
        "gpu_service_page_cache_refaults_total": {TRAIN: 60_000.0},
        "gpu_service_local_cpus_ratio": {("0", "GPU-a", *TRAIN): 0.4},
        "gpu_host_cpu_steal_seconds_total": {(): pytest.approx((400 + 6000) / TICKS / 2)},
    }


def test_totals_outlast_a_moment_without_processes_but_not_what_happens_meanwhile(tree: Tree) -> None:
    now, tenant = [100.0], HostTenant("0", "GPU-a", "", TRAIN[:2], "otel", (7,))
    tenants = [tenant]
    run = with_tenants(tree(host(0, 0, 0)), now, tenants)
    totals = []
    for some, present in ((0, True), (3_000_000, True), (9_000_000, False), (9_000_000, True), (10_000_000, True)):
        tree(host(some, 0, 0))
        tenants[:] = [tenant] * present
        totals.append(collected(run)["gpu_service_cpu_waiting_seconds_total"].get(TRAIN))
        now[0] += 10.0
    assert totals == [0.0, 3.0, 3.0, 3.0, 4.0]
    tenants.clear()
    for now[0] in (150.0, 1100.0):
        last = collected(run)["gpu_service_cpu_waiting_seconds_total"]
    assert last == {}, "it left long ago"


def test_a_reading_without_a_kind_keeps_its_total() -> None:
    wait = add_readings(None, {Path("/a"): {"some": 1.0}}, 0.0)
    for now, values in enumerate(({"some": 1.5}, {"full": 1.0}, {"some": 2.0}), 1):
        wait = add_readings(wait, {Path("/a"): values}, float(now))
    assert wait.totals == {"some": 0.5, "full": 0.0}


@pytest.mark.parametrize(("kind", "total"), [("io", 3.0), ("refaults", 5.0)])
def test_pages_of_several_cgroups_add_up_while_their_seconds_overlap(kind: str, total: float) -> None:
    wait = add_readings(None, {Path(name): {kind: 10.0} for name in "abc"}, 0.0)
    later = {"a": 13.0, "b": 12.0, "c": 4.0}
    wait = add_readings(wait, {Path(name): {kind: value} for name, value in later.items()}, 9.0)
    assert wait.totals == {kind: total}


def test_a_service_with_two_sources_has_one_series_of_its_cgroups(tree: Tree) -> None:
    now = [100.0]
    root = tree({**host(0, 0, 0), "proc/8/cgroup": f"0::/{POD}\n"})
    tenants = [
        HostTenant(str(n), f"GPU-{n}", "", TRAIN[:2], source, (7 + n,)) for n, source in enumerate(("otel", "pod"))
    ]
    run = with_tenants(root, now, tenants)
    collected(run)
    tenants.reverse()
    now[0] = 110.0
    tree(host(2_000_000, 0, 0))
    assert collected(run)["gpu_service_cpu_waiting_seconds_total"] == {TRAIN: 2.0}, "with the source that it had first"


def test_steal_neither_jumps_nor_falls_while_cpus_are_offline() -> None:
    steal, totals = None, []
    for stolen in ((800, 800, 800, 800), (1000, 1000), (1200, 1100), (1400, 1200, 800, 800), (1500, 1300, 900, 900)):
        steal = add_steal(steal, steal_by_cpu(stat(*stolen)))
        totals.append(steal.total * TICKS)
    assert totals == pytest.approx([0.0, 200.0, 350.0, 500.0, 600.0])


@pytest.mark.parametrize(
    ("case", "cgroup", "files", "found"),
    [
        ("version 2", f"0::/{POD}\n", {f"cgroup/{POD}/cpu.stat": ""}, [POD]),
        ("a hybrid host", f"0::/{POD}\n", {f"cgroup/unified/{POD}/cpu.stat": ""}, [f"unified/{POD}"]),
        ("version 1", f"4:cpu,cpuacct:/{POD}\n0::/\n", {f"cgroup/cpu,cpuacct/{POD}/cpu.stat": ""},
         [f"cpu,cpuacct/{POD}"]),
        ("seen from another cgroup namespace", "0::/../../kubepods-pod1.slice/cri-containerd-a.scope\n",
         {f"cgroup/{POD}/cpu.stat": ""}, [POD]),
        ("the root is no pod", "0::/\n", {"cgroup/cpu.stat": ""}, []),
        ("the host's tree is not mounted", f"0::/{POD}\n", {"cgroup/cpu.stat": ""}, []),
    ],
)  # fmt: skip
def test_the_cgroup_of_a_process_is_found(
    case: str, cgroup: str, files: Mapping[str, str], found: list[str], tree: Tree
) -> None:
    root = tree({"proc/7/cgroup": cgroup, **files})
    folders = list(cgroup_folders(root / "cgroup", root / "proc/7"))
    assert [str(folder.relative_to(root / "cgroup")) for folder in folders] == found, case


def test_without_the_cgroups_of_the_host_nothing_is_reported_but_the_reason(
    tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    root = tree({"proc/7/cgroup": f"0::/{POD}\n", "proc/stat": "", f"{GPU}/numa_node": "-1\n"})
    assert not any(collected(collector(root, [1.0])).values())
    assert "mount the host's /sys/fs/cgroup" in caplog.text


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"a/memory.stat": "workingset_refault 5\n"}, {"refaults": 5.0}),
        ({"a/memory.stat": "workingset_refault_file x\nfile 3\n"}, {}),
        ({"a/io.pressure": "some total=x\n"}, {}),
        ({"a/io.pressure": PRESSURE.format(3, 2), "a/memory.pressure": ""}, {"io": 3e-6}),
        ({}, {}),
    ],
    ids=["before Linux 5.9", "no number", "malformed", "storage alone", "no file"],
)
def test_a_kind_that_a_cgroup_does_not_have_is_absent(
    files: Mapping[str, str], found: Mapping[str, float], tree: Tree
) -> None:
    root = tree({"b": "", **files})
    assert read_cgroup(root / "a") == found


def test_throttled_time_of_version_1_is_in_nanoseconds(tree: Tree) -> None:
    root = tree({"a/cpu.stat": "nr_periods 9\nnr_throttled 3\nthrottled_time 2500000000\n"})
    assert read_cgroup(root / "a") == {"throttled": 2.5}


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0-2,8\n", {0, 1, 2, 8}), ("5", {5}), ("", set()), ("a", set()), ("0-99999999999", set()), ("3-", set())],
)
def test_a_list_of_cpus_is_read(text: str, cpus: set[int]) -> None:
    assert parse_cpu_list(text) == cpus


def test_a_gpu_without_a_numa_node_is_close_to_no_cpu_that_is_known(tree: Tree) -> None:
    root = tree({f"{GPU}/numa_node": "-1\n", f"{GPU}/local_cpulist": "0-1\n"})
    assert local_cpus(root / "sys", "00000000:1B:00.0") == frozenset()
    assert steal_by_cpu("cpu 1 2\ncpu0 1 2\n") == {}


@given(
    st.lists(
        st.tuples(
            st.floats(0, 60),
            st.dictionaries(
                st.sampled_from([Path("/a"), Path("/b")]),
                st.dictionaries(st.sampled_from(["some", "full", "throttled", "io"]), st.floats(0, 1e6)),
            ),
        ),
        max_size=8,
    )
)
def test_no_wait_exceeds_the_time_that_passed_and_none_goes_back(
    steps: list[tuple[float, dict[Path, dict[str, float]]]],
) -> None:
    now, wait = 0.0, None
    for seconds, cgroups in steps:
        now += seconds
        before: Wait | None = wait
        wait = add_readings(before, cgroups, now)
        for kind, total in wait.totals.items():
            assert (before.totals.get(kind, 0.0) if before else 0.0) <= total <= now


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A cgroup of version 2 that this test made."""
    root = next((path for path in map(Path, ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")) if
                 (path / "cgroup.controllers").exists()), None)  # fmt: skip
    folder = root / f"foreshock-test-{os.getpid()}" if root else None
    try:
        assert folder is not None
        folder.mkdir()
    except (AssertionError, OSError):
        pytest.skip("this machine has no writable cgroup of version 2")
    yield folder
    folder.rmdir()


def test_a_real_cgroup_has_pressure_and_is_found_by_its_process(cgroup: Path) -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        (cgroup / "cgroup.procs").write_text(str(process.pid))
        roots = list(cgroup_folders(Path("/sys/fs/cgroup"), Path(f"/proc/{process.pid}")))
        assert cgroup in roots
        if (cgroup / "cpu.pressure").exists():
            assert read_cgroup(cgroup)["some"] >= 0.0
            assert read_cgroup(cgroup)["io"] >= 0.0
    finally:
        process.kill()
        process.wait()
