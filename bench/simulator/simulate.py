"""Benchmark of recording: CPU time of an hour of a platform of 32 GPUs by part, and its size on disk.

  .venv/bin/python -m bench.simulator.simulate [--scenario calm] [--size demo] [--minutes 60] [--look 5] [--profile]

Shares show the distribution of time even on
a busy machine. The GPU totals at the end show the effect of the sample interval of exporters (`--look`, seconds).
"""

from __future__ import annotations

import argparse
import cProfile
import math
import pstats
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.support.figures import Figure, report
from foreshock_dashboard.cli.simulate import EPOCH
from foreshock_dashboard.model.query import Query
from foreshock_dashboard.recording.meta import RecordingMeta
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.recording.writer import RecordingWriter
from foreshock_dashboard.simulated.recorder import Recorder, ScrapeConfig
from foreshock_dashboard.simulated.targets import HostTarget, ScrapeTarget
from foreshock_exporter.model import metrics as metric_names
from foreshock_simulator.scenarios.load import load
from foreshock_simulator.simulation import Simulation

LIMITS = {"demo": (20.0, 30.0)}
"""CPU seconds and MB of an hour, by size of the platform."""
BUSY, CONTENDED, SERVICE_WAIT = (
    metric_names.SERVICE_BUSY.name,
    metric_names.CONTENDED.name,
    metric_names.SERVICE_WAIT.name,
)


class Parts:
    """CPU seconds of this thread by part. A nested part does not count in the outer one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._running: list[tuple[str, float]] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the block as a part."""
        self._switch()
        self._running.append((name, 0.0))
        self._began = time.thread_time()
        try:
            yield
        finally:
            self._switch()
            self._running.pop()

    def _switch(self) -> None:
        now = time.thread_time()
        if self._running:
            self.seconds[self._running[-1][0]] += now - self._began
        self._began = now

    def wrap(self, owner: type[Any], method: str, name: str) -> None:
        """Count calls of a method as a part."""
        original: Callable[..., Any] = getattr(owner, method)

        def counted(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - any method
            with self.part(name):
                return original(*args, **named)

        setattr(owner, method, counted)


def record(name: str, size: str, minutes: float, folder: Path, parts: Parts, config: ScrapeConfig) -> None:
    """Record a scenario like `foreshock dev simulate`."""
    parts.wrap(Simulation, "advance", "simulation")
    parts.wrap(HostTarget, "sample", "exporters' samples")
    parts.wrap(ScrapeTarget, "scrape", "scrapes")
    with parts.part("rest"), RecordingWriter(folder, RecordingMeta(simulated=True, scrape_interval=10.0)) as writer:
        simulation = Simulation(load(name, size, 1), 1, EPOCH, sample=0.05, count=True)
        for _ in Recorder(simulation, writer, config).run(EPOCH + 60 * minutes):
            pass


def total_seconds(metrics: RecordedMetrics, metric: str, end: float) -> dict[str, float]:
    """Increase of a counter over the recording, summed by service; "" for series without a service."""
    end = 10.0 * (end // 10.0)
    series = metrics.fetch(Query(metric, by=("service_name",)), end, end, 10.0)
    return {
        dict(labels).get("service_name", ""): float(row[-1])
        for labels, row in zip(series.labels, series.values, strict=True)
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print the figures; returns 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="calm")
    parser.add_argument("--size", default="demo")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument(
        "--look", type=float, default=ScrapeConfig().gpu_sample_seconds, help="seconds between an exporter's looks"
    )
    parser.add_argument("--profile", action="store_true", help="print the costliest functions")
    options = parser.parse_args(arguments)
    parts, profile = Parts(), cProfile.Profile()
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as scratch:
        folder = Path(scratch) / "recording"
        if options.profile:
            profile.enable()
        record(
            options.scenario,
            options.size,
            options.minutes,
            folder,
            parts,
            ScrapeConfig(gpu_sample_seconds=options.look),
        )
        profile.disable()
        open_began = time.thread_time()
        with Recording(folder) as recording:
            metrics = RecordedMetrics(recording)
            opened, meta = time.thread_time() - open_began, recording.meta
            totals = {
                metric: total_seconds(metrics, metric, EPOCH + 60 * options.minutes)
                for metric in (BUSY, CONTENDED, SERVICE_WAIT)
            }
        size = sum(file.stat().st_size for file in folder.iterdir())
    total_cpu = sum(parts.seconds.values())
    hours = options.minutes / 60
    print(
        f"{options.minutes:g} min of {options.scenario}, {options.size}: {meta.samples:,} samples of "
        f"{meta.series:,} series, {meta.spans:,} spans"
    )
    for name, seconds in sorted(parts.seconds.items(), key=lambda part: -part[1]):
        print(f"  {name:<20}{seconds:7.2f} s {seconds / total_cpu:5.0%}")
    hourly, megabytes = total_cpu / hours, size / 1e6
    print(f"  {'recorded in':<20}{total_cpu:7.2f} s        an hour: {hourly:.1f} s")
    print(f"  {'opened in':<20}{opened:7.2f} s")
    print(f"  {'size':<20}{megabytes:7.2f} MB       an hour is {megabytes / hours:.1f} MB")
    for metric, services in totals.items():
        print(f"  {metric}: {'; '.join(f'{name} {seconds:.1f}'.strip() for name, seconds in services.items())}")
    if options.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
    max_seconds, max_megabytes = LIMITS.get(options.size, (math.nan, math.nan))
    return report(
        [
            Figure(name="Recording of an hour", value=hourly, unit="s", goal=max_seconds),
            Figure(name="Size of an hour", value=megabytes / hours, unit="MB", goal=max_megabytes),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
