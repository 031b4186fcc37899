"""The tools of the real-card tests, tested without a card."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.exporter.whole.conftest import HOSTS, HostOf, host_of
from tests.exporter.whole.exposition import Values, from_text
from tests.gpu import cuda as cuda_module
from tests.gpu.card import implausible, unexplained
from tests.gpu.cuda import PTX, Cuda, CudaError, Spinner
from tests.gpu.prediction import gained, prediction
from tests.gpu.spin import AHEAD, MOST, calibrated, ran, served
from tests.gpu.switches import Agreement, Interval, agreement, intervals, watched
from tests.gpu.tenant import Work, at_once, tenant
from tests.nvml.conftest import double, nvml, nvml_library

if TYPE_CHECKING:
    from tests.conftest import Eventually

__all__ = ("double", "host_of", "nvml", "nvml_library")


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled stand-in for libcuda."""
    library = tmp_path_factory.mktemp("cuda") / "libcuda.so.1"
    source = Path(__file__).with_name("fake_cuda.c")
    flags = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
    subprocess.run(["cc", *flags, str(source), "-o", str(library)], check=True)
    return library


def generated(iterations: int) -> int:
    """What thread 0 of the kernel stores."""
    number = 0
    for _ in range(iterations):
        number = (number * 1664525 + 1013904223) % 2**32
    return number


def test_arguments_reach_the_driver_as_its_header_declares_them(stand_in: Path) -> None:
    spinner, library = Spinner(Cuda(str(stand_in))), ctypes.CDLL(str(stand_in))
    library.fake_result.restype = ctypes.c_uint32
    for iterations in (1, 1000, 70_000):
        spinner.launch(iterations)
        assert library.fake_result() == generated(iterations)
    assert library.fake_queued() == 3
    spinner.wait()
    assert library.fake_queued() == 0
    spinner.close()


def test_a_call_that_fails_is_named_with_cudas_name_of_the_error(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_module, "PTX", b"nonsense")
    with pytest.raises(CudaError, match=r"^cuModuleLoadData: CUDA_ERROR_INVALID_PTX$"):
        Spinner(Cuda(str(stand_in)))
    with pytest.raises(CudaError, match=r"^cuDeviceGet: error 1$"):
        Cuda(str(stand_in)).call("cuDeviceGet", ctypes.byref(ctypes.c_int()), 5)


def test_the_kernel_declares_every_register_that_it_uses() -> None:
    """The driver alone can translate it; this much of its grammar can be read here."""
    text = PTX.decode()
    declared = {kind: int(count) for kind, count in re.findall(r"\.reg \.\w+ %(\w+)<(\d+)>;", text)}
    used = re.findall(r"%(p|rd|r)(\d+)\b", re.sub(r"\.reg.*", "", text))
    assert {kind for kind, _ in used} == set(declared)
    assert all(int(number) < declared[kind] for kind, number in used)
    body = [line.strip() for line in text.partition("{")[2].partition("}")[0].splitlines() if line.strip()]
    assert all(line.endswith((";", ":")) for line in body)
    assert {line.split()[1] for line in body if line.startswith("bra")} <= {"again;"}
    assert "\0" not in text


class Clock:
    """GPU with kernels of one microsecond per thousand iterations, and its clock."""

    def __init__(self) -> None:
        self.time = 0.0
        self.queued: list[int] = []

    def __call__(self) -> float:
        return self.time

    def launch(self, iterations: int) -> None:
        self.queued.append(iterations)

    def wait(self) -> None:
        self.time += sum(self.queued) * 1e-9
        self.queued.clear()


@pytest.mark.parametrize("seconds", [1e-6, 0.002, 0.5])
def test_a_kernel_is_calibrated_to_the_requested_duration(seconds: float) -> None:
    gpu = Clock()
    assert calibrated(gpu, seconds, gpu) == pytest.approx(seconds * 1e9, rel=1e-6)
    assert calibrated(gpu, 1e6, gpu) == MOST


def test_kernels_are_counted_until_the_time_is_over() -> None:
    gpu = Clock()
    kernels, took = ran(gpu, 1.0, 2_000_000, gpu)
    assert kernels == 504, f"whole batches of {AHEAD}"
    assert took == pytest.approx(1.008)


def test_orders_are_answered_in_turn_and_a_wrong_one_is_refused() -> None:
    gpu = Clock()
    answers = list(served(gpu, ["calibrate 0.001\n", "run 0.1 1000000\n"], gpu))
    assert [sorted(answer) for answer in answers] == [["iterations"], ["kernels", "seconds"]]
    with pytest.raises(ValueError, match="no such order: 'stop'"):
        list(served(gpu, ["stop"], gpu))


def test_two_tenants_run_in_processes_with_their_service_name(stand_in: Path) -> None:
    """Over the CUDA double, with kernels that use the CPU."""
    with tenant("shop-a", "GPU-1", str(stand_in)) as one, tenant("shop-b", "GPU-1", str(stand_in)) as other:
        iterations = one.calibrate(1e-4)
        work = at_once((one, other), 0.2, iterations)
        for each, pid in ((work[0], one.pid), (work[1], other.pid)):
            assert each.seconds >= 0.2
            assert each.kernels >= AHEAD
            environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            assert {b"CUDA_VISIBLE_DEVICES=GPU-1"} <= set(environ)
        assert b"OTEL_SERVICE_NAME=shop-b" in Path(f"/proc/{other.pid}/environ").read_bytes()


def test_a_failing_tenant_reports_its_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="nowhere"), tenant("shop", "GPU-1", str(tmp_path / "nowhere")):
        pass


def output(contended: float, gpu_wait: Mapping[str, float]) -> Values:
    lines = [f'gpu_contended_seconds_total{{gpu="0",uuid="GPU-0"}} {contended}']
    lines += [
        f'gpu_service_wait_seconds_total{{gpu="0",uuid="GPU-0",service_name="{name}"}} {seconds}'
        for name, seconds in gpu_wait.items()
    ]
    return from_text(("\n".join(lines) + "\n").encode())


def test_waiting_is_compared_with_the_loss_of_throughput() -> None:
    """Ten seconds together, half of them waited; three fifths of the throughput left."""
    before, after = output(1.0, {"a": 2.0}), output(11.0, {"a": 7.0, "b": 4.0})
    found = prediction("a", before, after, alone=Work(500, 5.0), together=Work(600, 10.0))
    assert found.service == "a"
    assert found[1:] == pytest.approx((0.5, 0.4))
    assert found.error == pytest.approx(0.1)
    assert str(found).endswith("40.0% of its throughput lost as measured, error +10.0%")
    assert gained(before, after, "gpu_service_wait_seconds_total", service_name="b") == 4.0
    assert gained(before, after, "gpu_contended_seconds_total") == 10.0


def counted(contended: float, switching: float | None, uuid: str = "GPU-0") -> Values:
    lines = [f'gpu_contended_seconds_total{{gpu="0",uuid="{uuid}"}} {contended}']
    if switching is not None:
        lines.append(f'gpu_context_switch_seconds_total{{gpu="0",uuid="{uuid}"}} {switching}')
    return from_text(("\n".join(lines) + "\n").encode())


def test_intervals_have_the_shares_of_both_counters() -> None:
    scrapes = [(0.0, counted(1.0, 0.1)), (2.0, counted(2.0, 0.2)), (6.0, counted(6.0, 0.2)), (8.0, counted(6.0, None))]
    assert intervals(scrapes, "GPU-0") == [pytest.approx((0.5, 0.05)), pytest.approx((1.0, 0.0))]
    assert intervals(scrapes, "GPU-1") == []


@pytest.mark.parametrize(
    ("found", "score"),
    [
        ([(1.0, 0.02), (0.9, 0.03), (0.0, 0.0), (0.1, 0.01)], 1.0),
        ([(1.0, 0.0), (0.0, 0.02)], 0.0),
        ([(1.0, 0.01), (0.0, 0.01), (0.0, 0.01)], 0.5),
        ([(1.0, 0.02), (0.0, 0.01), (0.2, 0.03)], 0.5),
    ],
    ids=["perfect", "opposite", "equal everywhere", "no better than chance"],
)
def test_contended_intervals_should_have_more_time_in_switches_than_others(
    found: list[tuple[float, float]], score: float
) -> None:
    result = agreement([Interval(*part) for part in found])
    assert result is not None
    assert result.score == score
    assert f"{score:.2f} (1 is perfect" in str(result)


STALLED, SECONDS = (*range(10, 20), *range(30, 40)), 60
"""Seconds in which services stall each other, of how many."""
FEW, MANY = 2.0**-9, 2.0**-5
"""Shares of a second in context switches, of which sums are exact."""


def scrapes_of(switching: Collection[int], times: Sequence[int]) -> list[tuple[float, Values]]:
    """Counters at `times` of a GPU with many switches in seconds of `switching`, beside a GPU that does the opposite.

    The estimate sees 15/16 of a stalled second, and 1/16 of any other.
    """

    def of(time: int, other: bool) -> Values:
        contended = sum(0.9375 if (second in STALLED) != other else 0.0625 for second in range(time))
        switched = sum(MANY if (second in switching) != other else FEW for second in range(time))
        return counted(100.0 + contended, 7.0 + switched, "GPU-1" if other else "GPU-0")

    return [(float(time), {**of(time, False), **of(time, True)}) for time in times]


@pytest.mark.parametrize(
    ("switching", "expected"),
    [
        (STALLED, Agreement(20, 40, MANY, FEW, 1.0)),
        ([*range(10), *range(20, 30), *range(40, 60)], Agreement(20, 40, FEW, MANY, 0.0)),
        ([second + 5 for second in STALLED], Agreement(20, 40, (MANY + FEW) / 2, (MANY + 3 * FEW) / 4, 0.625)),
        ([second + 10 for second in STALLED], Agreement(20, 40, FEW, (MANY + FEW) / 2, 0.25)),
        ([], Agreement(20, 40, FEW, FEW, 0.5)),
    ],
    ids=["with every stall", "without every stall", "half of the stalls", "after each stall", "never"],
)
def test_the_agreement_of_known_stalls_is_that_worked_out_by_hand(
    switching: Collection[int], expected: Agreement
) -> None:
    """Of half of the stalls: 1/2 of contended seconds beats 3/4 of others, and ties with 1/4; 1/2 ties with 3/4."""
    assert agreement(intervals(scrapes_of(switching, range(SECONDS + 1)), "GPU-0")) == expected


def test_intervals_of_different_lengths_count_by_their_shares() -> None:
    """The second is stalled for 6 of 12 s, by the estimate exactly half: contended, as are the third and the fifth."""
    times = [0, 4, 16, 20, 30, 38, 60]
    found = agreement(intervals(scrapes_of(STALLED, times), "GPU-0"))
    assert found == pytest.approx(Agreement(3, 3, (2.5 * MANY + 0.5 * FEW) / 3, (2 * MANY + 64 * FEW) / 66, 1.0))


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 5)), min_size=2, max_size=30))
def test_the_score_is_that_of_the_rank_sum(parts: list[tuple[float, int]]) -> None:
    """Mann and Whitney's U by ranks, with the mean rank of equal values."""
    found = agreement([Interval(contended, float(switching)) for contended, switching in parts])
    values = sorted(switching for _, switching in parts)
    rank = {each: values.index(each) + (values.count(each) + 1) / 2 for each in values}
    contended = [rank[switching] for share, switching in parts if share >= 0.5]
    others = len(parts) - len(contended)
    if not contended or not others:
        assert found is None
    else:
        assert found is not None
        u = sum(contended) - len(contended) * (len(contended) + 1) / 2
        assert found.score == pytest.approx(u / (len(contended) * others))


@pytest.mark.parametrize("contended", [0.0, 1.0])
def test_nothing_agrees_where_the_estimate_says_the_same_all_the_time(contended: float) -> None:
    assert agreement([Interval(contended, 0.1)] * 3) is None


def test_the_metrics_are_watched_from_the_beginning_to_the_end_of_a_block(eventually: Eventually) -> None:
    numbers = iter(range(10_000))
    with watched(lambda: counted(float(next(numbers)), 0.0), 0.01) as scrapes:
        eventually(lambda: len(scrapes) > 2, "scrapes")
    assert [values for _, values in scrapes] == [counted(float(number), 0.0) for number in range(len(scrapes))]


@pytest.mark.parametrize("name", HOSTS)
def test_every_kind_of_host_has_plausible_values_and_reasons(name: str, host_of: HostOf) -> None:
    """With the checks for a real card."""
    scene = host_of(name)
    scene.run(12.0, 1.0)
    text = scene.exporter.render()
    seen = from_text(text)
    assert not unexplained(seen)
    assert not implausible(seen)
    without = b"".join(line for line in text.splitlines(keepends=True) if b"gpu_power_watts" not in line)
    assert {family for _, family in unexplained(from_text(without))} == {"gpu_power_watts"}
    assert implausible({key: 1e9 * each for key, each in seen.items()})


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Machine with a libnvidia-ml that is not a library."""
    (tmp_path / "libnvidia-ml.so.1").write_text("not a library")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    return tmp_path


def test_without_a_driver_card_tests_are_skipped_with_a_reason(no_driver: Path) -> None:
    assert no_driver.exists()
    tests = str(Path(__file__).with_name("test_real_card.py"))
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", tests],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    assert "no NVIDIA driver answers here" in ran.stdout
    assert "passed" not in ran.stdout
