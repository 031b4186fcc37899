"""Usage statistics of DRM clients: any text is a client or none, and shares stay between 0 and 1."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.drm.double import ADDRESS, KernelDouble, fdinfo

from foreshock_exporter.drm.clients import SCAN_INTERVAL_SECONDS, DrmClients, _has_program
from foreshock_exporter.drm.fdinfo import Client, parse_fdinfo

KEYS = st.sampled_from(
    [
        *("drm-driver", "drm-pdev", "drm-client-id", "drm-engine-gfx", "drm-engine-compute", "drm-engine-render"),
        *("drm-cycles-rcs", "drm-total-cycles-rcs", "drm-engine-capacity-ccs", "drm-memory-vram", "drm-resident-vram0"),
        "pos",
    ]
)
VALUES = st.one_of(
    st.sampled_from(["amdgpu", ADDRESS, "7", "0", "1 ns", "99999999999999999999 ns", "2048 KiB", "-1", "1 TiB", ""]),
    st.text(max_size=8),
)


NOTHING = Client("amdgpu", ADDRESS, "7", {}, {}, None)
LINES = st.lists(st.tuples(KEYS, VALUES), max_size=8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            fdinfo("drm-memory-vram:\t2048 KiB", "drm-engine-gfx:\t3000000000 ns", "drm-engine-dec:\t9 ns"),
            Client("amdgpu", ADDRESS, "7", {"gfx": 3.0}, {}, 2.0**21),
        ),
        (
            fdinfo("drm-engine-compute: 8000000000 ns", "drm-engine-capacity-compute: 4", driver="i915"),
            Client("i915", ADDRESS, "7", {"compute": 2.0}, {}, None),
        ),
        (
            fdinfo(
                *("drm-resident-vram0:\t16 MiB", "drm-cycles-ccs:\t400", "drm-total-cycles-ccs:\t1000"),
                *("drm-engine-capacity-ccs:\t4", "drm-cycles-rcs:\t5"),
                driver="xe",
            ),
            Client("xe", ADDRESS, "7", {}, {"ccs": (100.0, 1000.0)}, 2.0**24),
        ),
        (
            fdinfo("drm-engine-gfx:\tgarbage", "drm-memory-vram:\t1 parsec"),
            Client("amdgpu", ADDRESS, "7", {}, {}, None),
        ),
        (
            fdinfo("drm-resident-vram:\t1 KiB", "drm-memory-vram:\t9 KiB"),
            Client("amdgpu", ADDRESS, "7", {}, {}, 1024.0),
        ),
        ("pos:\t0\nflags:\t02", None),
        (fdinfo(address="somewhere"), None),
        (fdinfo().replace("client-id:\t7", "client-id:\tx"), None),
        ("", None),
    ],
    ids=["amdgpu", "i915", "xe", "garbage", "resident", "a file", "no address", "no number", "empty"],
)
def test_a_client_has_the_time_of_the_engines_that_run_kernels(text: str, expected: Client | None) -> None:
    """Engines of a kind work at the same time, so that their number divides it."""
    assert parse_fdinfo(text) == expected


@given(LINES, LINES)
def test_any_two_texts_have_a_share_between_0_and_1(
    first: list[tuple[str, str]], second: list[tuple[str, str]]
) -> None:
    head = [("drm-driver", "amdgpu"), ("drm-pdev", ADDRESS), ("drm-client-id", "7")]
    clients = [
        parse_fdinfo("\n".join(f"{key}:\t{value}" for key, value in [*lines, *head])) for lines in (first, second)
    ]
    assert clients[0] is not None
    assert clients[1] is not None
    assert 0.0 <= clients[1].share_since(clients[0], 0.1) <= 1.0
    assert clients[0].share_since(clients[0], 0.1) == 0.0


@given(st.text(max_size=200))
def test_any_text_is_a_client_or_none(text: str) -> None:
    parse_fdinfo(text)


def test_files_of_all_processes_are_searched_every_ten_seconds(kernel: KernelDouble) -> None:
    """Known ones are read each time; a closed one is no client at once."""
    time = [0.0]
    clients = DrmClients(kernel.sysfs, kernel.procfs, lambda: time[0])
    kernel.gpu({})
    kernel.process(50, "render")
    kernel.client(50, "3", "pos:\t0", device="/dev/null")
    assert clients.read(ADDRESS) == {}
    kernel.client(50, "5", fdinfo("drm-engine-gfx:\t1 ns"))
    assert clients.read(ADDRESS) == {}
    time[0] += SCAN_INTERVAL_SECONDS
    assert list(clients.read(ADDRESS)) == [(50, "7")]
    assert clients.read("0000:05:00.0") == {}
    (kernel.procfs / "50/fdinfo/5").unlink()
    assert clients.read(ADDRESS) == {}
    assert not clients.incomplete


def test_a_host_with_many_processes_is_searched_less_often(kernel: KernelDouble) -> None:
    """Which takes half a second here, at a tenth for each reading of the clock: not again before fifty seconds."""
    time = [0.0]

    def now() -> float:
        time[0] += 0.1
        return time[0]

    clients = DrmClients(kernel.sysfs, kernel.procfs, now)
    kernel.gpu({})
    kernel.process(50, "render")
    clients.read(ADDRESS)
    kernel.client(50, "5", fdinfo())
    time[0] = 30.0
    assert clients.read(ADDRESS) == {}
    time[0] = 60.0
    found = [list(clients.read(ADDRESS)) for _ in range(5)]
    assert found[0] == [], "a part of the search by call, after the first"
    assert found[-1] == [(50, "7")]


@pytest.mark.parametrize("option", ["hidepid=1", "hidepid=2"])
def test_processes_that_proc_hides_are_unknown(option: str, kernel: KernelDouble) -> None:
    """Without them, a GPU in use would seem idle. With hidepid=1 they are listed, but no file of theirs is readable."""
    clients = DrmClients(kernel.sysfs, kernel.procfs, lambda: 0.0)
    if option == "hidepid=2":
        shutil.rmtree(kernel.procfs / "1")
        clients.read(ADDRESS)
        assert clients.incomplete
    else:
        kernel.fail(kernel.procfs / "1/cmdline")
        assert _has_program(str(kernel.procfs / "1"))


@pytest.fixture
def public() -> Iterator[KernelDouble]:
    """A host below a folder that every user may enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield KernelDouble(folder)
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(("command", "expected"), [("python\0", True), ("", False)])
def test_files_of_other_users_are_unknown_but_threads_of_the_kernel_have_none(
    command: str, expected: bool, public: KernelDouble
) -> None:
    public.process(50, "render")
    public.write(public.procfs / "50/cmdline", command)
    (public.procfs / "50/fd").chmod(0o700)
    clients = DrmClients(public.sysfs, public.procfs, lambda: 0.0)
    os.seteuid(65534)
    try:
        assert clients.read(ADDRESS) == {}
    finally:
        os.seteuid(0)
    assert clients.incomplete is expected
