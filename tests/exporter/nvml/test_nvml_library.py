"""Lifecycle of NVML with concurrent calls, of which one may never return."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pynvml  # type: ignore[import-untyped] # nvidia-ml-py ships no type hints
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.conftest import Eventually
from tests.exporter.nvml.conftest import Open
from tests.exporter.nvml.fake import FakeNvml, error, gpu_of, handle_of

from foreshock_exporter.model.device import DeviceError
from foreshock_exporter.nvml import RETRY_SECONDS, NvmlDriver
from foreshock_exporter.nvml.library import DRAIN_SECONDS, Library


class Hang:
    """An answer that does not come for one GPU until it is let go."""

    def __init__(self, gpu: int, answer: int) -> None:
        self._gpu = gpu
        self._answer = answer
        self.reached = threading.Event()
        self.released = threading.Event()

    def __call__(self, handle: object) -> int:
        if gpu_of(handle) == self._gpu:
            self.reached.set()
            assert self.released.wait(60.0)
        return self._answer


@pytest.fixture
def hung(driver: Open) -> Iterator[tuple[NvmlDriver, FakeNvml, Hang, Future[Any]]]:
    """Two GPUs; a reading of the first is in flight and does not return."""
    hang = Hang(0, 100_000)
    adapter, fake = driver(gpus=2, nvmlDeviceGetPowerUsage=hang)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(adapter.read, 0)
        assert hang.reached.wait(60.0)
        yield adapter, fake, hang, reading
        hang.released.set()


Hung = tuple[NvmlDriver, FakeNvml, Hang, "Future[Any]"]


def test_without_a_driver_there_are_no_gpus_and_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    fake, clock = FakeNvml(), [0.0]
    fake.fail("nvmlInit", "LIBRARY_NOT_FOUND")
    adapter = NvmlDriver(Library(fake, timer=lambda: clock[0]))
    for _ in range(100):
        assert adapter.count() == 0
        clock[0] += 1.0
    assert fake.calls.count(("nvmlInit",)) == 1 + 99 // RETRY_SECONDS
    assert len(caplog.records) == 1
    assert "no NVIDIA driver" in caplog.text
    with pytest.raises(DeviceError, match="no NVIDIA driver"):
        adapter.read(0)

    fake.errors.clear()
    clock[0] += RETRY_SECONDS
    assert adapter.count() == 1
    assert caplog.records[-1].getMessage() == "NVML: works again"


@pytest.mark.parametrize("code", ["UNINITIALIZED", "DRIVER_NOT_LOADED", "LIB_RM_VERSION_MISMATCH"])
@pytest.mark.parametrize("name", ["nvmlDeviceGetHandleByIndex", "nvmlDeviceGetPowerUsage", "nvmlDeviceGetCount"])
def test_a_driver_that_was_unloaded_is_let_go_of_and_found_again(
    name: str, code: str, driver: Open, clock: list[float]
) -> None:
    adapter, fake = driver()
    fake.fail(name, code)
    ask: Callable[[], object] = adapter.count if name == "nvmlDeviceGetCount" else lambda: adapter.read(0)
    with pytest.raises(DeviceError) as raised:
        ask()
    assert raised.value.reason == "driver"
    assert fake.times("nvmlShutdown") == 1, "an open NVML keeps the driver from being unloaded"
    fake.errors.clear()
    assert adapter.count() == 0
    clock[0] += RETRY_SECONDS
    assert adapter.count() == 1
    assert adapter.read(0).power_watts == 512.345
    assert fake.times("nvmlInit") == 2


def test_a_handle_is_cached(driver: Open) -> None:
    adapter, fake = driver()
    adapter.read(0)
    adapter.health(0)
    adapter.utilization(0, 0)
    assert fake.times("nvmlDeviceGetHandleByIndex") == 1


def test_a_handle_that_failed_is_never_used_again(driver: Open) -> None:
    """It would crash the process; the GPU may still answer by another."""
    given: list[int] = []

    def lookup(gpu: int) -> Any:  # noqa: ANN401 - an opaque pointer
        given.append(len(given))
        return handle_of(gpu + 10 * given[-1])

    adapter, fake = driver({"nvmlDeviceGetPowerUsage": "UNKNOWN"}, nvmlDeviceGetHandleByIndex=lookup)
    reading = adapter.read(0)
    assert (reading.power_watts, reading.power_limit_watts) == (None, 700.0)
    of = {call[0]: gpu_of(call[1]) // 10 for call in fake.calls if call[0].startswith("nvmlDeviceGet") and call[1:]}
    assert of["nvmlDeviceGetUtilizationRates"] == of["nvmlDeviceGetPowerUsage"] == 0
    assert of["nvmlDeviceGetEnforcedPowerLimit"] == 1


@pytest.mark.parametrize("code", ["GPU_IS_LOST", "GPU_NOT_FOUND", "RESET_REQUIRED", "TIMEOUT"])
def test_a_lost_gpu_is_not_called_until_its_handle_is_looked_up_again(code: str, driver: Open) -> None:
    adapter, fake = driver({"nvmlDeviceGetUtilizationRates": code})
    for _ in range(2):
        with pytest.raises(DeviceError):
            adapter.read(0)
    assert fake.times("nvmlDeviceGetMemoryInfo") == 0
    assert fake.times("nvmlDeviceGetHandleByIndex") == 2
    fake.fail("nvmlDeviceGetHandleByIndex", "GPU_IS_LOST")
    with pytest.raises(DeviceError):
        adapter.read(0)
    assert fake.times("nvmlDeviceGetUtilizationRates") == 2
    fake.errors.clear()
    assert adapter.read(0).power_watts == 512.345


def test_gpus_that_move_up_when_one_comes_late_are_found_under_their_new_index(driver: Open) -> None:
    order = [0, 2]
    adapter, fake = driver(gpus=2, nvmlDeviceGetHandleByIndex=lambda index: handle_of(order[index]))
    assert [adapter.identity(index).uuid for index in range(2)] == ["GPU-0", "GPU-2"]
    order.insert(1, 1)
    fake.gpus = 3
    adapter.count()
    with pytest.raises(DeviceError, match="refers to another GPU"):
        adapter.utilization(1, 0)  # the caller means the one that was identified
    assert [adapter.identity(index).uuid for index in range(3)] == ["GPU-0", "GPU-1", "GPU-2"]


def test_a_gpu_that_takes_the_place_of_another_is_seen_when_it_is_identified(driver: Open) -> None:
    at = [0]
    adapter, fake = driver(nvmlDeviceGetHandleByIndex=lambda _: handle_of(at[0]))
    adapter.read(0)
    at[0] = 5
    assert adapter.identity(0).uuid == "GPU-5"
    adapter.utilization(0, 0)
    assert fake.calls[-1] == ("nvmlDeviceGetSamples", 5)


def test_the_state_of_a_gpu_is_kept_after_an_unexpected_code_but_not_for_another_gpu(driver: Open) -> None:
    """The number of NVLinks is looked up once per GPU."""
    adapter, fake = driver({"nvmlDeviceGetPowerUsage": "UNKNOWN"}, field_values={(91, 0): (1, 2)})
    adapter.identity(0)
    for _ in range(3):
        adapter.counters(0)
        adapter.read(0)
    assert fake.requested_fields.count([(91, 0)]) == 1
    fake.answers["nvmlDeviceGetUUID"] = "GPU-other"
    adapter.identity(0)
    adapter.counters(0)
    assert fake.requested_fields.count([(91, 0)]) == 2


def test_nvml_is_opened_again_for_a_gpu_that_was_bound_since(tmp_path: Path, clock: list[float]) -> None:
    """An open NVML goes on naming those that were there when it was opened."""
    (tmp_path / "0000:1b:00.0").mkdir()
    fake = FakeNvml()
    fake.answers["nvmlInit"] = lambda: setattr(fake, "gpus", len(list(tmp_path.iterdir())))
    adapter = NvmlDriver(Library(fake, timer=lambda: clock[0], bound=tmp_path))
    assert adapter.count() == 1
    (tmp_path / "0000:1c:00.0").mkdir()
    assert [adapter.count() for _ in range(3)] == [1, 1, 1], "not at once"
    clock[0] += RETRY_SECONDS
    assert [adapter.count() for _ in range(3)] == [1, 2, 2]
    assert fake.times("nvmlInit") == 2


@pytest.mark.parametrize("code", ["NOT_SUPPORTED", "NO_PERMISSION", "NOT_FOUND", "FUNCTION_NOT_FOUND"])
def test_an_answer_in_the_negative_leaves_the_handle_as_it_is(code: str, driver: Open) -> None:
    adapter, fake = driver({"nvmlDeviceGetPowerUsage": code})
    adapter.read(0)
    adapter.read(0)
    assert fake.times("nvmlDeviceGetHandleByIndex") == 1


def test_a_call_that_hangs_leaves_the_other_gpus_alone(hung: Hung) -> None:
    adapter, _, hang, reading = hung
    assert adapter.read(1).power_watts == 100.0
    assert adapter.count() == 2
    assert adapter.utilization(0, 0) == [], "nor is another call for the same GPU held up"
    hang.released.set()
    assert reading.result(60.0).power_watts == 100.0


def test_nvml_is_not_shut_down_under_a_call_but_when_the_call_returns(
    hung: Hung, clock: list[float], eventually: Eventually
) -> None:
    adapter, fake, hang, reading = hung
    fake.fail("nvmlDeviceGetUtilizationRates", "UNINITIALIZED")
    with pytest.raises(DeviceError):
        adapter.read(1)
    with pytest.raises(DeviceError, match="in flight"):
        adapter.identity(1)
    assert fake.times("nvmlShutdown") == 0
    hang.released.set()
    reading.exception(60.0)
    eventually(lambda: fake.times("nvmlShutdown") == 1, "shut down by the last call")
    fake.errors.clear()
    clock[0] += RETRY_SECONDS
    assert adapter.count() == 2


def test_while_a_call_hangs_nvml_stays_open_with_one_log_line(
    hung: Hung, clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    adapter, fake, _, _ = hung
    for _ in range(3):
        fake.fail("nvmlDeviceGetUtilizationRates", "UNINITIALIZED")
        with pytest.raises(DeviceError):
            adapter.read(1)
        clock[0] += DRAIN_SECONDS
        fake.errors.clear()
        assert adapter.read(1).power_watts == 100.0, "what still answers is used"
    assert fake.times("nvmlShutdown") == 0
    assert [record.getMessage() for record in caplog.records] == ["NVML: cannot be reopened: a call has not returned"]


def test_closing_while_a_call_hangs_returns_and_lets_go_when_it_is_over(
    hung: Hung, caplog: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    adapter, fake, hang, _ = hung
    adapter.close()
    adapter.close()
    assert fake.times("nvmlShutdown") == 0
    assert caplog.text.count("stays open until the calls in flight return (1)") == 1
    with pytest.raises(DeviceError, match="NVML is closed"):
        adapter.read(1)
    hang.released.set()
    eventually(lambda: fake.times("nvmlShutdown") == 1, "shut down by the last call")


def test_closing_shuts_nvml_down_once_and_for_good(driver: Open, clock: list[float]) -> None:
    adapter, fake = driver()
    adapter.close()
    adapter.close()
    clock[0] += RETRY_SECONDS
    assert adapter.count() == 0
    assert (fake.times("nvmlInit"), fake.times("nvmlShutdown")) == (1, 1)


def test_a_hung_initialization_blocks_no_other_caller() -> None:
    opening, released = threading.Event(), threading.Event()

    def init() -> None:
        opening.set()
        assert released.wait(60.0)

    adapter = NvmlDriver(Library(FakeNvml(answers={"nvmlInit": init}), timer=lambda: 0.0))
    with ThreadPoolExecutor(1) as pool:
        count = pool.submit(adapter.count)
        assert opening.wait(60.0)
        assert adapter.count() == 0
        with pytest.raises(DeviceError, match="opening"):
            adapter.read(0)
        released.set()
        assert count.result(60.0) == 1
    assert adapter.count() == 1


@pytest.mark.parametrize(
    ("mapped", "restart"),
    [("libnvidia-ml.so.550.54", True), ("libnvidia-ml.so.550.54 (deleted)", True), ("libnvidia-ml.so.580.95", False)],
)
def test_after_an_upgrade_under_the_running_process_only_a_new_one_helps(
    mapped: str, restart: bool, tmp_path: Path, clock: list[float]
) -> None:
    for version in ("550.54", "580.95"):
        (tmp_path / f"libnvidia-ml.so.{version}").touch()
    (tmp_path / "libnvidia-ml.so.1").symlink_to("libnvidia-ml.so.580.95")
    maps = tmp_path / "maps"
    maps.write_text(f"7f00-7f01 r--p 00000000 08:01 4242   {tmp_path}/{mapped}\n7f02-7f03 rw-p 00000000 00:00 0\n")
    fake = FakeNvml()
    adapter = NvmlDriver(Library(fake, timer=lambda: clock[0], maps=maps))
    adapter.read(0)
    assert not adapter.needs_restart(), "nothing is wrong yet"
    fake.fail("nvmlDeviceGetUtilizationRates", "LIB_RM_VERSION_MISMATCH")
    fake.fail("nvmlInit", "LIB_RM_VERSION_MISMATCH")
    with pytest.raises(DeviceError):
        adapter.read(0)
    clock[0] += RETRY_SECONDS
    assert adapter.count() == 0
    assert adapter.needs_restart() is restart
    fake.errors.clear()
    clock[0] += RETRY_SECONDS
    adapter.count()
    assert not adapter.needs_restart(), "it works again"


class Lifecycle(RuleBasedStateMachine):
    """Calls come and go in any order while the driver leaves and returns."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.fake = FakeNvml(answers={"nvmlInit": self._init, "nvmlShutdown": self._shut, "nvmlDeviceGetCount": int})
        self.library = Library(self.fake, timer=lambda: self.now)
        self.in_flight = 0
        self.open = False
        self.opened_at: list[float] = []
        self.loaded = True
        self.closed = False

    def _init(self) -> None:
        assert not self.open, "opened twice"
        self.opened_at.append(self.now)
        if not self.loaded:
            raise error("DRIVER_NOT_LOADED")
        self.open = True

    def _shut(self) -> None:
        assert self.open, "shut down without having been opened"
        assert self.in_flight == 0, "shut down under a call"
        self.open = False

    @rule()
    def enter(self) -> None:
        try:
            self.library.begin_call()
        except DeviceError:
            return
        assert self.open, "a call was let in without NVML"
        assert not self.closed
        self.in_flight += 1

    @precondition(lambda self: self.in_flight)
    @rule(gone=st.booleans())
    def leave(self, gone: bool) -> None:
        if gone:
            self.library.failure(pynvml.NVML_ERROR_UNINITIALIZED)
        self.in_flight -= 1
        self.library.end_call()

    @rule(seconds=st.sampled_from([DRAIN_SECONDS / 2, DRAIN_SECONDS, RETRY_SECONDS / 2, RETRY_SECONDS]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(loaded=st.booleans())
    def load(self, loaded: bool) -> None:
        self.loaded = loaded

    @rule()
    def close(self) -> None:
        self.closed = True
        self.library.close()

    @invariant()
    def tries_are_apart(self) -> None:
        pairs = zip(self.opened_at, self.opened_at[1:], strict=False)
        assert all(later - earlier >= RETRY_SECONDS for earlier, later in pairs)

    @invariant()
    def lets_go_when_closed(self) -> None:
        assert not (self.closed and self.open and self.in_flight == 0)


TestLifecycle = Lifecycle.TestCase
TestLifecycle.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def test_calls_from_many_threads_never_meet_a_shutdown(driver: Open, clock: list[float]) -> None:
    """The driver leaves again and again while eight threads read."""
    inside, lock, torn = [0], threading.Lock(), []

    def busy(_handle: object) -> int:
        with lock:
            inside[0] += 1
        time.sleep(0)
        with lock:
            inside[0] -= 1
        return 1

    adapter, fake = driver(gpus=8, nvmlDeviceGetPowerUsage=busy)
    fake.answers["nvmlShutdown"] = lambda: torn.append(inside[0])

    def loop(gpu: int) -> int:
        answered = 0
        for turn in range(60):
            if turn % 20 == gpu:
                fake.fail("nvmlDeviceGetPowerUsage", "UNINITIALIZED")
            try:
                adapter.read(gpu)
                answered += 1
            except DeviceError:
                fake.errors.clear()
                clock[0] += RETRY_SECONDS
        return answered

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(loop, range(8))) > 0
    assert torn, "the driver did leave"
    assert not any(torn), "shut down under a call"
