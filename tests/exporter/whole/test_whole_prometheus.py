"""A real Prometheus scrapes the real command over NVML's ABI, while GPUs hang, are lost, and come late."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.exporter.whole.conftest import LiveScriptFile
from tests.exporter.whole.host_tree import HOST, process, slot
from tests.nvml.double import Double, Player
from tests.nvml.scripted import played

if TYPE_CHECKING:
    from tests.conftest import Eventually
    from tests.exporter.web.conftest import Query

COMMAND = str(Path(sys.executable).with_name("foreshock-exporter"))
HUNG, FALLEN, WELL, LATE = range(4)
"""What becomes of each GPU."""
GPUS = tuple({"gpu": gpu, "device": {"uuid": f"GPU-{gpu}"}} for gpu in range(4))
LOAD = (
    {"gpu": HUNG, "process": {"pid": 4001, "sm": 0.5, "memory_bytes": 9e9}},
    {"gpu": FALLEN, "process": {"pid": 4002, "sm": 0.5, "memory_bytes": 9e9}},
    {"gpu": WELL, "process": {"pid": 4003, "sm": 0.6, "memory_bytes": 9e9}},
    {"gpu": WELL, "process": {"pid": 4004, "sm": 0.36, "memory_bytes": 9e9}},
    {"gpu": LATE, "fault": "late"},
)
SERVICES = {4001: "search", 4002: "ranking", 4003: "chat", 4004: "batch"}
BUSY_WELL = 0.96
"""Busy share of the GPU that stays well, which its two services contend for."""


@dataclass(frozen=True, slots=True)
class PrometheusClient:
    """A Prometheus, asked over its own API."""

    query: Query

    def values(self, expression: str) -> list[float]:
        """Of an instant vector."""
        return [float(series["value"][1]) for series in self.query(expression)]

    def value(self, expression: str) -> float | None:
        """Of the one series, if it is there now."""
        (found,) = self.values(expression) or (None,)
        return found

    def history(self, selector: str) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        """Every sample of the test by series: times and values."""
        return [
            (series["metric"], [(float(at), float(value)) for at, value in series["values"]])
            for series in self.query(f"{selector}[1h]")
        ]


@pytest.fixture
def live_script(double: Double) -> Iterator[LiveScriptFile]:
    """A script that plays while the test runs."""
    script_file = LiveScriptFile(*GPUS, *LOAD)
    with Player(double, partial(played, script_file.playback), now=time.time):
        yield script_file


@contextmanager
def command(double: Double, log: Path, arguments: Sequence[str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The running exporter and its port."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FORESHOCK_")}
    line = [COMMAND, "--web.listen-address=127.0.0.1:0", *arguments]
    with log.open("wb") as said:
        running = subprocess.Popen(line, stderr=said, env=double.environment(environment))
    try:
        yield running, _port(running, log)
    finally:
        running.terminate()
        running.wait(30)


def _port(running: subprocess.Popen[bytes], log: Path) -> int:
    while running.poll() is None:
        if found := re.search(r"listens on https://127\.0\.0\.1:(\d+)/", log.read_text()):
            return int(found[1])
        time.sleep(0.02)
    pytest.fail(f"the exporter ended: {log.read_text()}")


def targets(port: int, folder: Path) -> str:
    return (
        "- job_name: gpus\n  scheme: https\n"
        f"  static_configs: [{{targets: ['localhost:{port}']}}]\n"
        f"  tls_config: {{ca_file: {folder / 'ca.pem'}}}\n"
        "  basic_auth: {username: prometheus, password: apple}\n"
    )


@pytest.fixture
def scraped(
    double: Double,
    live_script: LiveScriptFile,
    folder: Path,
    config: Callable[[str], Path],
    hashed: Callable[[str], str],
    prometheus: Callable[[str], Query],
    tree: Callable[[Mapping[str, str]], Path],
) -> Iterator[tuple[PrometheusClient, subprocess.Popen[bytes], Path]]:
    """Prometheus, the exporter that it scrapes over TLS with a password, and that one's log."""
    assert live_script.playback
    files = {**HOST, **slot("0000:17:00.0"), **slot("0000:65:00.0"), **slot("0000:ca:00.0"), **slot("0000:e3:00.0")}
    for pid, service in SERVICES.items():
        files |= process(pid, service)
    root, log = tree(files), folder / "exporter.log"
    secret = (
        "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n"
        f"basic_auth_users:\n  prometheus: {hashed('apple')}\n"
    )
    paths = (f"--path.procfs={root}/proc", f"--path.sysfs={root}/sys", f"--path.rootfs={root}")
    with command(double, log, (*paths, f"--web.config.file={config(secret)}")) as (running, port):
        yield PrometheusClient(prometheus(targets(port, folder))), running, log


def busy_of(gpu: int) -> str:
    return f'gpu_busy_seconds_total{{gpu="{gpu}"}}'


def test_a_real_prometheus_sees_a_hung_a_lost_and_a_late_gpu_and_misses_no_scrape(
    scraped: tuple[PrometheusClient, subprocess.Popen[bytes], Path], live_script: LiveScriptFile, eventually: Eventually
) -> None:
    asked, running, log = scraped
    value = asked.value
    eventually(lambda: value("gpus_present") == 3, "three GPUs")
    assert value("gpus_expected") == 4, "the slots count the one that is late"
    eventually(lambda: (value(busy_of(HUNG)) or 0) > 1, "its time is counted")
    eventually(lambda: value(f'gpu_power_watts{{gpu="{HUNG}"}}') is not None, "its gauges are there")

    live_script.add(
        {"gpu": HUNG, "fault": "hang"},
        {"gpu": FALLEN, "xid": 79},
        {"gpu": FALLEN, "fault": "lost"},
        {"gpu": WELL, "xid": 31},
    )
    age = f'max(foreshock_exporter_driver_call_age_seconds{{gpu="{HUNG}"}})'
    eventually(lambda: (value(age) or 0) > 3, "a call that does not return")
    eventually(lambda: value(f'gpu_lost{{uuid="GPU-{FALLEN}"}}') == 1, "a GPU that is lost")
    eventually(lambda: value(f'gpu_power_watts{{gpu="{HUNG}"}}') is None, "its gauges are stale, not frozen")
    assert value(f'gpu_power_watts{{gpu="{WELL}"}}') is not None
    assert (value("gpus_present"), value("gpus_expected")) == (1, 4)
    assert value(f"{age} > bool 9") == 1
    for gpu, xid in ((FALLEN, 79), (WELL, 31)):
        assert value(f'gpu_xid_errors_total{{uuid="GPU-{gpu}",xid="{xid}"}}') == 1
        reported = value(f'time() - gpu_xid_last_timestamp_seconds{{uuid="GPU-{gpu}",xid="{xid}"}}')
        assert reported is not None
        assert 5 < reported < 60

    live_script.add({"gpu": FALLEN, "clear": True}, {"gpu": LATE, "clear": True})
    live_script.add({"gpu": LATE, "process": {"pid": 4001, "sm": 0.7}})
    eventually(lambda: value("gpus_present") == 3, "the lost one is back and the late one there")
    assert value(f"{age} > bool 9") == 1, "while the call still hangs"
    eventually(lambda: (value(busy_of(LATE)) or 0) > 0, "the late one is counted")

    live_script.add({"gpu": HUNG, "clear": True})
    eventually(lambda: value("gpus_present") == 4, "all four")
    eventually(lambda: value(f"{age} < bool 1") == 1, "no call is in flight for long")
    eventually(lambda: value("sum(gpu_lost)") == 0, "none is lost")
    back = value(busy_of(HUNG))
    eventually(lambda: (value(busy_of(HUNG)) or 0) > (back or 0), "it is counted on")
    eventually(lambda: value('foreshock_exporter_collector_success{collector="gpu"}') == 1, "all is well")

    assert running.poll() is None, "it is the same process"
    assert "has not returned" in log.read_text()
    assert value("min_over_time(up[1h])") == 1, "not one scrape failed"
    assert value("count_over_time(up[1h]) >= bool 10") == 1
    check_counters(asked)
    check_healthy_gpu(asked)
    check_sharing(asked)


def check_counters(asked: PrometheusClient) -> None:
    """No counter ever went back, so that no rate is too high or, by a subtraction of one's own, negative."""
    counters = asked.history('{__name__=~".+(_total|_bucket|_count|_sum)"}')
    assert {"gpu_busy_seconds_total", "gpu_energy_joules_total", "gpu_utilization_sample_ratio_bucket"} <= {
        metric["__name__"] for metric, _ in counters
    }
    for metric, samples in counters:
        values = [value for _, value in samples]
        assert values == sorted(values), metric


def check_healthy_gpu(asked: PrometheusClient) -> None:
    """It was read all the time: its busy time equals that of the script, in total and in each part."""
    ((_, samples),) = asked.history(busy_of(WELL))
    first, last = samples[0], samples[-1]
    assert last[1] - first[1] == pytest.approx(BUSY_WELL * (last[0] - first[0]), rel=0.2)
    third = len(samples) // 3
    for part in (samples[:third], samples[third : 2 * third], samples[2 * third :]):
        assert part[-1][1] > part[0][1]


def check_sharing(asked: PrometheusClient) -> None:
    """Stalls are attributed by name; absence of stalls is exposed as well."""
    waited = f'gpu_service_wait_by_aggressor_seconds_total{{gpu="{WELL}",service_name="batch",aggressor_name="chat"}}'
    assert asked.value(f'increase({waited[:-1]},source="otel"}}[1h]) > bool 5') == 1
    assert asked.value(f'gpu_contended_seconds_total{{gpu="{FALLEN}"}}') == 0
