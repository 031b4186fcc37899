"""Exporters running live over the double: hung calls, and the command as a process."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.conftest import Eventually
from tests.nvml.double import Double, Player
from tests.nvml.packing import UPGRADED
from tests.nvml.profiles import PROFILES, START
from tests.nvml.scene import read
from tests.nvml.scripted import ScriptedHost

from foreshock_exporter.exporter import Exporter
from foreshock_exporter.model.device import DeviceError
from foreshock_exporter.model.service import AttributedService
from foreshock_exporter.nvml import Library, NvmlDriver
from foreshock_exporter.script.events import Fault

COMMAND = str(Path(sys.executable).with_name("foreshock-exporter"))
GPU_0, GPU_1 = ("0", "GPU-0"), ("1", "GPU-1")


class Stage:
    """Two H100s with a script that starts now; `faults` may change meanwhile."""

    def __init__(self) -> None:
        self.faults: list[Fault] = ["", ""]
        self._began = time.time()

    def at(self, now: float) -> ScriptedHost:
        gpu = PROFILES["h100"].at(START + 20.0 + now - self._began).gpus[0]
        named = (replace(gpu.identity, gpu=str(index), uuid=f"GPU-{index}") for index in (0, 1))
        return ScriptedHost(
            now,
            tuple(
                replace(gpu, identity=identity, fault=fault) for identity, fault in zip(named, self.faults, strict=True)
            ),
        )


@pytest.fixture
def stage(double: Double) -> Iterator[Stage]:
    """Plays while the test runs."""
    stage = Stage()
    with Player(double, stage.at, now=time.time):
        yield stage


@pytest.fixture
def late() -> list[float]:
    """Seconds by which the exporter's clock for staleness and age is ahead of the wall's."""
    return [0.0]


@pytest.fixture
def exporter(nvml: ModuleType, stage: Stage, late: list[float]) -> Iterator[Exporter]:
    """Runs live over the stage. Calls that hang are freed afterwards."""
    exporter = Exporter(
        NvmlDriver(Library(nvml)),
        lambda pid: AttributedService("shop", str(pid), "simulated"),
        host_id="1",
        host_name="host",
        timer=lambda: time.perf_counter() + late[0],
    )
    exporter.start(0.1)
    yield exporter
    stage.faults[:] = ["", ""]
    exporter.close(10.0)


def scrape(exporter: Exporter) -> dict[str, Any]:
    return read(exporter.render())


def busy(exporter: Exporter) -> dict[tuple[str, str], float]:
    """Busy seconds by GPU."""
    return dict(scrape(exporter).get("gpu_busy_seconds_total", {}))


def lost(exporter: Exporter) -> float | None:
    """Whether GPU 0 is lost; None before it was seen."""
    found: float | None = {key[-1]: value for key, value in scrape(exporter).get("gpu_lost", {}).items()}.get("GPU-0")
    return found


def age(exporter: Exporter, gpu: str) -> float:
    """Of the oldest driver call in flight for the GPU."""
    ages = scrape(exporter)["foreshock_exporter_driver_call_age_seconds"]
    return max(float(value) for (_, of), value in ages.items() if of == gpu)


def test_a_hung_call_is_detected_and_other_gpus_continue(
    exporter: Exporter,
    stage: Stage,
    late: list[float],
    double: Double,
    eventually: Eventually,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its age grows, it is logged, and its values are dropped; they return with the call."""
    eventually(lambda: {GPU_0, GPU_1} <= busy(exporter).keys(), "both GPUs are there")
    stage.faults[0] = "hang"
    eventually(lambda: double.blocked() > 0, "a call hangs")
    before = busy(exporter)[GPU_1]
    eventually(lambda: busy(exporter)[GPU_1] > before, "the other GPU goes on")
    first = age(exporter, "0")
    eventually(lambda: age(exporter, "0") > first + 0.5, "the age of the call grows")
    late[0] = 11.0
    eventually(lambda: busy(exporter).keys() == {GPU_1}, "what the hung GPU said is no longer shown")
    assert scrape(exporter)["gpus_expected"][()] == 2
    assert "has not returned" in caplog.text
    stage.faults[0] = ""
    eventually(lambda: {GPU_0, GPU_1} <= busy(exporter).keys(), "it is back")
    eventually(lambda: age(exporter, "0") < 1.0, "no call is in flight for long")


def test_a_gpu_that_falls_off_under_a_hung_call_is_lost_and_found_again(
    exporter: Exporter, stage: Stage, double: Double, eventually: Eventually
) -> None:
    eventually(lambda: lost(exporter) == 0, "it is there")
    stage.faults[0] = "hang"
    eventually(lambda: double.blocked() > 0, "a call hangs")
    stage.faults[0] = "lost"
    eventually(lambda: lost(exporter) == 1, "it is lost")
    stage.faults[0] = ""
    eventually(lambda: lost(exporter) == 0, "it is back")


@contextmanager
def command(double: Double, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running exporter over the double, and the address of its metrics."""
    line = [COMMAND, "--web.listen-address=127.0.0.1:0", "--sampling.period=0.1", *arguments]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env=double.environment(os.environ)) as process:
        try:
            assert process.stderr is not None
            said = (re.search(r"listens on (http://127\.0\.0\.1:\d+/\w+)", line) for line in process.stderr)
            yield process, next(found[1] for found in said if found)
        finally:
            process.kill()
            process.communicate()


def ask(address: str) -> dict[str, Any]:
    with urllib.request.urlopen(address, timeout=30) as answer:
        return read(answer.read())


def test_the_command_finds_the_library_by_name(double: Double, stage: Stage) -> None:
    assert stage.faults == ["", ""]
    ran = subprocess.run(
        [COMMAND, "--once"], env=double.environment(os.environ), capture_output=True, text=True, check=False
    )
    seen = read(ran.stdout.encode())
    assert ran.returncode == 0, ran.stderr
    assert seen["foreshock_exporter_mock"][()] == 0
    assert seen["gpu_busy_seconds_total"].keys() == {GPU_0, GPU_1}


def test_the_command_stops_on_a_signal_though_a_call_hangs(
    double: Double, stage: Stage, eventually: Eventually
) -> None:
    with command(double) as (process, address):
        eventually(lambda: len(ask(address).get("gpu_busy_seconds_total", ())) == 2, "both GPUs are exported")
        stage.faults[0] = "hang"
        eventually(lambda: double.blocked() > 0, "a call hangs")
        assert "gpu_busy_seconds_total" in ask(address), "a scrape never waits for the driver"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    stage.faults[0] = ""


def test_nvitop_exporter_runs_over_the_double_as_well(double: Double, stage: Stage, eventually: Eventually) -> None:
    """The peer that the bench compares with reads the same library."""
    assert stage.faults == ["", ""]
    peer = str(Path(sys.executable).with_name("nvitop-exporter"))
    code = (
        "import socket, sys; s = socket.socket(); s.bind(('127.0.0.1', 0)); port = str(s.getsockname()[1]); s.close();"
        "print(port, flush=True); import os; os.execv(sys.argv[1], [sys.argv[1], '--bind-address', '127.0.0.1',"
        " '--port', port])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, peer],
        env=double.environment(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            address = f"http://127.0.0.1:{int(process.stdout.readline())}/metrics"

            def both_gpus_are_exposed() -> bool:
                try:
                    return len(ask(address).get("gpu_nvlink_total_tx_throughput_MiBps", ())) == 2
                except OSError:
                    return False

            eventually(both_gpus_are_exposed, "both GPUs are exported")
            assert set(ask(address)["gpu_power_usage_W"].values()) == {612.345}
        finally:
            process.kill()
            process.communicate()


def test_an_upgraded_library_requires_a_restart(
    double: Double, nvml: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The library in memory is that of the old driver; a restart helps only if the file was replaced."""
    library = shutil.copy(double.library, tmp_path / "libnvidia-ml.so.1")
    monkeypatch.setattr(nvml, "nvmlLib", ctypes.CDLL(str(library)))
    monkeypatch.setattr(nvml, "_nvmlGetFunctionPointer_cache", {})
    double.show(PROFILES["h100"].at(START + 20.0))
    times: Callable[[], float] = iter(range(0, 10_000, 40)).__next__
    driver = NvmlDriver(Library(nvml, timer=times))
    assert driver.count() == 1
    double.loading = UPGRADED
    double.show(PROFILES["h100"].at(START + 20.0))
    with pytest.raises(DeviceError):
        driver.read(0)
    assert driver.count() == 0
    assert not driver.needs_restart(), "the file is still the same"
    shutil.copy(double.library, tmp_path / "new")
    (tmp_path / "new").replace(library)
    assert driver.needs_restart()
    driver.close()
