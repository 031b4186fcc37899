"""What recording costs: an hour of a platform of 32 GPUs, part by part, in seconds of one core, and its size on disk.

  .venv/bin/python scripts/bench_simulate.py [--scenario calm] [--size demo] [--minutes 60] [--look 5] [--profile]

Bars: 20 s for an hour of 32 GPUs, 30 MB for an hour of a small platform. Shares say where time goes on a busy machine.
What is told of GPUs at the end says what it would change if exporters looked more often (`--look`, seconds).
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from foreshock_dashboard.cli.simulate import EPOCH
from foreshock_dashboard.model.query import Query
from foreshock_dashboard.recording.meta import RecordingMeta
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.recording.recorder import Recorder, ScrapeConfig
from foreshock_dashboard.recording.targets import HostTarget, ScrapeTarget
from foreshock_dashboard.recording.writer import RecordingWriter
from foreshock_exporter.model import metrics as metric_names
from foreshock_simulator.scenarios.load import load
from foreshock_simulator.simulation import Simulation

BAR_SECONDS, BAR_MEGABYTES = 20.0, 30.0
BUSY, CONTENDED, STALLED = metric_names.SERVICE_BUSY.name, metric_names.CONTENDED.name, metric_names.STALLED.name


class Parts:
    """Seconds of this thread's CPU, by part; a part within another is not counted in that one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._running: list[tuple[str, float]] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens in the block."""
        self._turn()
        self._running.append((name, 0.0))
        self._began = time.thread_time()
        try:
            yield
        finally:
            self._turn()
            self._running.pop()

    def _turn(self) -> None:
        now = time.thread_time()
        if self._running:
            self.seconds[self._running[-1][0]] += now - self._began
        self._began = now

    def wrap(self, owner: type[Any], method: str, name: str) -> None:
        """Count the calls of a method as a part."""
        original: Callable[..., Any] = getattr(owner, method)

        def counted(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - any method
            with self.part(name):
                return original(*args, **named)

        setattr(owner, method, counted)


def record(name: str, size: str, minutes: float, folder: Path, parts: Parts, config: ScrapeConfig) -> None:
    """Record a scenario as `foreshock simulate` does."""
    parts.wrap(Simulation, "advance", "simulation")
    parts.wrap(HostTarget, "sample", "exporters' samples")
    parts.wrap(ScrapeTarget, "scrape", "scrapes")
    with parts.part("rest"), RecordingWriter(folder, RecordingMeta(simulated=True, scrape_interval=10.0)) as writer:
        simulation = Simulation(load(name, size, 1), 1, EPOCH, sample=0.05, count=True)
        for _ in Recorder(simulation, writer, start=EPOCH, seed=1, config=config).run(EPOCH + 60 * minutes):
            pass


def seconds_told(metrics: RecordedMetrics, metric: str, end: float) -> dict[str, float]:
    """A counter's last values (since each began at 0), summed by service; "" where it has none."""
    end = 10.0 * (end // 10.0)
    found = metrics.fetch(Query(metric, by=("service_name",)), end, end, 10.0)
    return {
        dict(labels).get("service_name", ""): float(row[-1])
        for labels, row in zip(found.labels, found.values, strict=True)
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="calm")
    parser.add_argument("--size", default="demo")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument(
        "--look", type=float, default=ScrapeConfig().gpu_sample_seconds, help="seconds between an exporter's looks"
    )
    parser.add_argument("--profile", action="store_true", help="print the costliest functions")
    asked = parser.parse_args(arguments)
    parts, profile = Parts(), cProfile.Profile()
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as scratch:
        folder = Path(scratch) / "recording"
        if asked.profile:
            profile.enable()
        record(asked.scenario, asked.size, asked.minutes, folder, parts, ScrapeConfig(gpu_sample_seconds=asked.look))
        profile.disable()
        began = time.thread_time()
        with Recording(folder) as recording:
            metrics = RecordedMetrics(recording)
            opened, meta = time.thread_time() - began, recording.meta
            told = {
                each: seconds_told(metrics, each, EPOCH + 60 * asked.minutes) for each in (BUSY, CONTENDED, STALLED)
            }
        size = sum(file.stat().st_size for file in folder.iterdir())
    whole = sum(parts.seconds.values())
    hours = asked.minutes / 60
    print(
        f"{asked.minutes:g} min of {asked.scenario}, {asked.size}: {meta.samples:,} samples of {meta.series:,} series,",
        end=" ",
    )
    print(f"{meta.spans:,} spans")
    for name, seconds in sorted(parts.seconds.items(), key=lambda part: -part[1]):
        print(f"  {name:<20}{seconds:7.2f} s {seconds / whole:5.0%}")
    each, megabytes = whole / hours, size / 1e6
    print(f"  {'recorded in':<20}{whole:7.2f} s        an hour: {each:.1f} s (bar: {BAR_SECONDS:.0f} s for 32 GPUs)")
    print(f"  {'opened in':<20}{opened:7.2f} s")
    print(
        f"  {'size':<20}{megabytes:7.2f} MB       an hour is {megabytes / hours:.1f} MB (bar: {BAR_MEGABYTES:.0f} MB)"
    )
    for metric, services in told.items():
        print(f"  {metric}: {'; '.join(f'{name} {seconds:.1f}'.strip() for name, seconds in services.items())}")
    if asked.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    main()
