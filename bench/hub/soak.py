"""Memory of a hub under a steady load for a long time; the slope of its resident memory with a confidence interval.

  .venv/bin/python -m bench.hub.soak --hours 24 [--speed 4] [--warm-up 8] [--csv FILE]
  .venv/bin/python -m bench.hub.soak --read FILE

Spans arrive, an exporter with simulated GPUs is scraped, and a client reads the API. All of them share a clock that
runs `--speed` times as fast as the wall clock; hours and rates are by that clock. The store begins with the history
that the hub keeps in memory. A small limit of the store's size lets blocks expire all the time, as in a store that has
reached its retention. The warm-up must last until the hub has all that it keeps, and the store has its full size.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import IO, NamedTuple

import httpx
import numpy as np

from bench.hub.day import exporter_series, span_series, write
from bench.support.process import HubProcess, end_processes_when_ended, hub_process
from bench.support.send_spans import batch
from bench.support.sources import counts, exporter, load
from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.sources.otlp.codec import decode
from foreshock_dashboard.store.folder import disk_bytes

INTERVAL_SECONDS = 5.0
"""Wall-clock time between two readings."""
RETENTION_SIZE = "16MiB"
HISTORY_HOURS = 3.2
"""A little more than `WORLD_HISTORY_SECONDS` of the hub."""
MAX_SLOPE_MIB_PER_HOUR = 1.0
MAX_EVALUATION_SECONDS = 22.0
"""Longest time between two evaluations, which write the series of spans: a rate window of 45 s has two of them."""
CYCLE_MINUTES = 12
"""Blocks are merged about every twelve minutes, which takes memory for seconds. A cycle counts as its median."""
LAG_CYCLES = 5
"""An hour: medians less than that apart have correlated errors."""
MIN_CYCLES = 3
"""A line through fewer has no error."""
PATHS = ("/api/incidents", "/api/services", "/api/traces", "/api/status", "/metrics")


class Reading(NamedTuple):
    """What a hub uses at a time (hours of its clock since the start)."""

    hours: float
    resident_mib: float
    anonymous_mib: float
    threads: int
    descriptors: int
    stored_mib: float
    evaluations: int
    spans: int


def reading(hub: HubProcess, folder: Path, evaluations: int, spans: int, hours: float) -> Reading:
    """Read /proc, and the size of the store. evaluations, spans: numbers since the start."""
    status = Path(f"/proc/{hub.pid}")
    threads, descriptors = (sum(1 for _ in (status / name).iterdir()) for name in ("task", "fd"))
    memory = hub.memory_mib(), hub.memory_mib("RssAnon")
    return Reading(hours, *memory, threads, descriptors, disk_bytes(folder) / (1 << 20), evaluations, spans)


def run(hours: float, rate: float, speed: float, file: IO[str]) -> None:
    """Write a line of CSV for each reading."""
    writer = csv.writer(file)
    writer.writerow(Reading._fields)
    now = time.time()
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="foreshock-soak-"))) / "store"
        target = opened.enter_context(exporter(0))
        spans = decode(batch(random.Random(2), round(now * 1e9))).spans  # noqa: S311 made up, no secret
        write(folder, [*exporter_series([target]), span_series(spans, now)], now, HISTORY_HOURS)
        clock = Clock(speed, now, time.time())
        target = opened.enter_context(exporter(1, clock.now))
        flags = ["--retention-size", RETENTION_SIZE]
        hub = opened.enter_context(hub_process(folder, [target], flags, clock))
        client = opened.enter_context(httpx.Client(base_url=hub.url, trust_env=False, timeout=600))
        counts_file = opened.enter_context(load(hub.endpoints[1], rate, clock))
        started = time.monotonic()
        number = 0
        while (elapsed := (clock.now() - now) / 3600) < hours:
            client.get(PATHS[number % len(PATHS)])
            evaluations = client.get("/api/now").json()["seq"]
            writer.writerow(reading(hub, folder, evaluations, counts(counts_file)[0], round(elapsed, 4)))
            file.flush()
            number += 1
            time.sleep(max(0.0, started + number * INTERVAL_SECONDS - time.monotonic()))


class Slope(NamedTuple):
    """MiB per hour, with half the width of its 95% interval."""

    value: float
    margin: float


def read(path: Path) -> list[Reading]:
    """Read the readings of an earlier or unfinished run.

    Raises:
        ValueError: the file has something else, or fewer than two readings.
    """
    with path.open(errors="replace", newline="") as file:
        header, *lines = [*csv.reader(file)] or [[]]
    if tuple(header) != Reading._fields:
        raise ValueError(f"{path}: the first line is not `{','.join(Reading._fields)}`. Use a file that --csv wrote.")
    if lines and len(lines[-1]) < len(header):
        lines.pop()  # the run ended while it wrote
    readings = []
    for number, line in enumerate(lines, 2):
        try:
            hours, resident, anonymous, threads, descriptors, stored, evaluations, spans = line
            memory = float(resident), float(anonymous)
            numbers = int(threads), int(descriptors)
            readings.append(Reading(float(hours), *memory, *numbers, float(stored), int(evaluations), int(spans)))
        except ValueError:
            raise ValueError(f"{path}: line {number} is not a reading. Remove it.") from None
    if len(readings) < 2:
        raise ValueError(f"{path}: {len(readings)} readings. Wait until the run has written two.")
    return readings


def slope(hours: Floats, mib: Floats) -> Slope:
    """Fit a line by least squares; the interval is for correlated errors (Newey and West, Econometrica 55, 1987)."""
    centered = hours - hours.mean()
    value = centered @ mib / (centered @ centered)
    scores = centered * (mib - mib.mean() - value * centered)
    variance = scores @ scores
    for lag in range(1, min(LAG_CYCLES, len(scores) - 1) + 1):
        variance += 2 * (1 - lag / (LAG_CYCLES + 1)) * (scores[lag:] @ scores[:-lag])
    return Slope(float(value), float(1.96 * np.sqrt(max(variance, 0.0)) / (centered @ centered)))


def report(readings: Sequence[Reading], warm_up_hours: float) -> bool:
    """Print the figures of the time after the warm-up; return whether the whole interval is within the limit."""
    cycles: dict[int, list[Reading]] = {}
    for each in readings:
        if each.hours >= warm_up_hours:
            cycles.setdefault(int(60 * each.hours / CYCLE_MINUTES), []).append(each)
    if len(cycles) < MIN_CYCLES:
        measured = f"{len(cycles) * CYCLE_MINUTES} min after the warm-up, minimum {MIN_CYCLES * CYCLE_MINUTES} min"
        print(f"NOT VALID: {measured}. Choose a lower --warm-up")
        return False
    hours = np.array([number * CYCLE_MINUTES / 60 for number in cycles])
    peak = max(each.resident_mib for each in readings)
    print(f"{readings[-1].hours:.1f} h, {warm_up_hours:g} h of them warm-up; peak {peak:.0f} MiB")
    slopes = {}
    for name in Reading._fields[1:-2]:
        values = np.array([np.median([getattr(each, name) for each in found]) for found in cycles.values()])
        slopes[name] = slope(hours, values)
        change = f"{slopes[name].value:+.2f} ± {slopes[name].margin:.2f} per hour"
        print(f"{name:<16}{values[0]:>7.1f} → {values[-1]:.1f}, mean {values.mean():.1f}, {change} (95% interval)")
    first, *_, last = (each for found in cycles.values() for each in found)
    evaluations = last.evaluations - first.evaluations
    spacing = 3600 * (last.hours - first.hours) / evaluations if evaluations else float("inf")
    print(f"an evaluation every {spacing:.0f} s of the hub's clock")
    if not spacing <= MAX_EVALUATION_SECONDS:
        print("NOT VALID: too few evaluations, so that series have gaps. Choose a lower --speed")
        return False
    if idle := sum(found[0].spans == later[0].spans for found, later in pairwise(cycles.values())):
        print(f"NOT VALID: no spans arrived in {idle} of {len(cycles)} cycles. Look for an error of the sender above")
        return False
    value, margin = slopes["resident_mib"]
    verdict = "held" if value + margin <= MAX_SLOPE_MIB_PER_HOUR else "NOT SHOWN"
    if value - margin > MAX_SLOPE_MIB_PER_HOUR:
        verdict = "MISSED"
    print(f"{verdict}: resident memory grows by at most {MAX_SLOPE_MIB_PER_HOUR:g} MiB per hour")
    return verdict == "held"


def main() -> int:
    """Run the load, or read its file, and print the figures; returns 1 if memory may grow, 2 for no readings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24.0, help="duration by the hub's clock")
    parser.add_argument("--speed", type=float, default=4.0, help="of the hub's clock")
    parser.add_argument("--rate", type=float, default=100.0, help="spans per second of the hub's clock")
    parser.add_argument("--warm-up", type=float, default=8.0, help="hours that are left out")
    parser.add_argument("--csv", type=Path, help="file for the readings (default: a temporary one)")
    parser.add_argument("--read", type=Path, help="file of an earlier run to report, also of an unfinished one")
    options = parser.parse_args()
    end_processes_when_ended()
    with ExitStack() as opened:
        path = options.read or options.csv
        if path is None:
            path = Path(opened.enter_context(tempfile.NamedTemporaryFile(suffix=".csv")).name)
        if not options.read:
            with path.open("w") as file:
                run(options.hours, options.rate, options.speed, file)
        try:
            readings = read(path)
        except (OSError, ValueError) as error:
            print(f"Error: {error}", file=sys.stderr)
            return 2
    return 0 if report(readings, options.warm_up) else 1


if __name__ == "__main__":
    sys.exit(main())
