"""Control groups of both versions, on files as the kernel shows them."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pytest

from foreshock_lab.system.cgroups import PARENT, Cgroup

V1 = {
    "cpu/cpu.stat": "nr_periods 40\nnr_throttled 10\nthrottled_time 2500000000\n",
    "cpu/cpu.cfs_quota_us": "50000",
    "cpu/cpu.cfs_period_us": "100000",
    "cpuacct/cpuacct.usage": "7500000000",
    "memory/memory.usage_in_bytes": "2000",
    "memory/memory.limit_in_bytes": "4000",
    "memory/memory.stat": "cache 900\ntotal_inactive_file 500\n",
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
}
V2 = {
    "cpu.stat": "usage_usec 7500000\nnr_periods 40\nnr_throttled 10\nthrottled_usec 2500000\n",
    "cpu.max": "50000 100000\n",
    "memory.current": "2000",
    "memory.max": "4000",
    "memory.stat": "anon 900\ninactive_file 500\n",
    "memory.events": "low 0\noom_kill 2\n",
}
UNLIMITED = {
    1: {"cpu/cpu.cfs_quota_us": "-1", "memory/memory.limit_in_bytes": str(2**63 - 4096)},
    2: {"cpu.max": "max 100000\n", "memory.max": "max\n"},
}


def group(root: Path, version: int) -> Cgroup:
    if version == 2:
        (root / "cgroup.controllers").write_text("cpu memory")
        (root / "cgroup.subtree_control").touch()
        (root / PARENT).mkdir()
    return Cgroup("shop", root)


def show(root: Path, version: int, content: dict[str, str]) -> None:
    for name, text in content.items():
        path = Path(name)
        folder = root / path.parent / PARENT / "shop" if version == 1 else root / PARENT / "shop"
        (folder / path.name).write_text(text)


@pytest.mark.parametrize(("version", "content"), [(1, V1), (2, V2)])
def test_usage_has_counters_and_limits_in_seconds_cores_and_bytes(
    tmp_path: Path, version: int, content: dict[str, str]
) -> None:
    cgroup = group(tmp_path, version)
    show(tmp_path, version, content)
    assert cgroup.usage() == (7.5, 0.5, 40, 10, 2.5, 2000, 1500, 4000, 2)


@pytest.mark.parametrize(("version", "content"), [(1, V1), (2, V2)])
def test_a_missing_limit_is_infinite(tmp_path: Path, version: int, content: dict[str, str]) -> None:
    cgroup = group(tmp_path, version)
    show(tmp_path, version, content | UNLIMITED[version])
    assert (cgroup.usage().cpu_cores, cgroup.usage().memory_limit) == (inf, inf)


@pytest.mark.parametrize(("version", "content"), [(1, V1), (2, V2)])
def test_a_limit_reads_as_it_was_set(tmp_path: Path, version: int, content: dict[str, str]) -> None:
    cgroup = group(tmp_path, version)
    show(tmp_path, version, content)
    cgroup.cpu_limit(0.25)
    cgroup.memory_limit(1 << 20)
    assert (cgroup.usage().cpu_cores, cgroup.usage().memory_limit) == (0.25, 1 << 20)
    cgroup.cpu_limit(None)
    cgroup.memory_limit(None)
    show(tmp_path, version, UNLIMITED[version] if version == 1 else {})
    assert (cgroup.usage().cpu_cores, cgroup.usage().memory_limit) == (inf, inf)


@pytest.mark.parametrize(("version", "folders"), [(1, ("cpu", "cpuacct", "memory")), (2, ("",))])
def test_a_process_moves_into_every_hierarchy(tmp_path: Path, version: int, folders: tuple[str, ...]) -> None:
    group(tmp_path, version).add(42)
    for folder in folders:
        assert (tmp_path / folder / PARENT / "shop" / "cgroup.procs").read_text() == "42"


def test_a_process_that_has_ended_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the thread that restarts replicas would end with the first one that fails at once."""

    def ended(*_: object) -> None:
        raise ProcessLookupError

    cgroup = group(tmp_path, 2)
    monkeypatch.setattr(Path, "write_text", ended)
    cgroup.add(42)
