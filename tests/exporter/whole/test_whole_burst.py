"""A 300 ms burst between two scrapes 30 s apart, as stored in Prometheus."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from tests.exporter.whole.conftest import script_of
from tests.nvml.double import Double
from tests.nvml.scene import Scene
from tests.nvml.scripted import played

from foreshock_exporter.script.playback import Playback

if TYPE_CHECKING:
    from tests.exporter.web.conftest import Query

EVERY = 30.0
"""Seconds between two scrapes."""
SCRAPES = 5
PERIOD = 0.1
"""Seconds that each of the driver's samples covers."""
BEGINS, LASTS, SHARE = 3 * EVERY + 11.1, 0.3, 0.8
"""The one thing that happens between the third scrape and the fourth, or any other two."""
LINES: tuple[dict[str, object], ...] = (
    {"gpu": 0, "device": {"sample_period": PERIOD}},
    {"gpu": 0, "process": {"pid": 1, "service": "shop/search", "memory_bytes": 1e9}},
    {"at": 5.0, "gpu": 0, "process": {"pid": 1, "sm": SHARE}},
    {"at": 6.0, "gpu": 0, "process": {"pid": 1, "sm": 0}},
    {"at": BEGINS, "gpu": 0, "process": {"pid": 1, "sm": SHARE}},
    {"at": BEGINS + LASTS, "gpu": 0, "process": {"pid": 1, "sm": 0}},
)


@pytest.fixture
def query_scrapes(
    nvml: ModuleType, double: Double, tmp_path: Path, prometheus: Callable[[str], Query]
) -> Callable[[str], list[float]]:
    """Ask a Prometheus whose store holds the scrapes, for a value at each of their times.

    They happened in the exporter's virtual time; promtool writes them into the store as Prometheus would have.
    """
    start = time.time() // 3600 * 3600 - 7200
    scene = Scene(nvml, double, partial(played, Playback(script_of(LINES), start)), start)
    lines: list[str] = []
    for _ in range(SCRAPES):
        scene.run(EVERY)
        lines += stamped(scene.exporter.render(openmetrics=True), scene.time)
    scene.exporter.close()
    backfilled(grouped(lines), tmp_path)
    query = prometheus("")
    times = [start + EVERY * number for number in range(1, SCRAPES + 1)]
    return lambda expression: [
        float(series["value"][1]) for at in times for series in query(expression.replace("@", f"@ {at:.3f}"))
    ]


def stamped(text: bytes, at: float) -> list[str]:
    """The lines of an exposition, each sample with its time."""
    lines = text.decode().splitlines()
    return [line if line.startswith("#") else f"{line} {at:.3f}" for line in lines if line != "# EOF"]


def grouped(lines: list[str]) -> str:
    """Several expositions as one: the samples of each family together, as OpenMetrics wants them, under one head."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, dict[str, list[str]]] = {}
    family = ""
    for line in lines:
        if line.startswith("#"):
            family = line.split()[2]
            if line not in heads.setdefault(family, []):
                heads[family].append(line)
        else:
            samples.setdefault(family, {}).setdefault(line.rsplit(" ", 2)[0], []).append(line)
    of_family = (
        "\n".join([*heads[name], *(line for each in of.values() for line in each)]) for name, of in samples.items()
    )
    return "\n".join([*of_family, "# EOF", ""])


def backfilled(text: str, folder: Path) -> None:
    file = folder / "scrapes.om"
    file.write_text(text)
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(file), str(folder / "data")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_counters_contain_a_300_ms_burst_between_two_scrapes(query_scrapes: Callable[[str], list[float]]) -> None:
    """Device and service counters do; no gauge shows it."""
    assert query_scrapes("gpu_utilization_ratio @") == [0.0] * SCRAPES
    for counter in ("gpu_busy_seconds_total", 'gpu_service_busy_seconds_total{service_name="search"}'):
        values = query_scrapes(f"{counter} @")
        assert [value - values[0] for value in values] == pytest.approx([0.0] * 3 + [SHARE * LASTS] * 2, abs=0.01)
    assert query_scrapes("gpu_contended_seconds_total @") == [0.0] * SCRAPES


def test_a_burst_has_its_time_and_intensity(query_scrapes: Callable[[str], list[float]]) -> None:
    """The scrapes between which the counter grew, and the histogram bucket of its samples."""
    gained = query_scrapes(f"delta(gpu_busy_seconds_total[{EVERY + 1:.0f}s] @)")
    assert [second > 0 for second in gained] == [False, False, True, False], "of the four times between two scrapes"
    busy = query_scrapes(
        'gpu_utilization_sample_ratio_bucket{le="0.9"} @ - ignoring(le) gpu_utilization_sample_ratio_bucket{le="0.5"} @'
    )
    assert [samples - busy[0] for samples in busy] == [0.0] * 3 + [pytest.approx(LASTS / PERIOD)] * 2
