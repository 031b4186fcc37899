"""The traffic part of docs/internals/realism.md: requests compared with traces; provisioning and cold start times."""

from __future__ import annotations

import csv
import gzip
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from foreshock_dashboard.web.charts import svg
from foreshock_simulator.control.capacity import provisioning_seconds
from foreshock_simulator.control.deployment import cold_start_seconds
from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.spec.platform import FlowSpec
from foreshock_simulator.traffic import traces
from foreshock_simulator.traffic.arrivals import arrivals
from foreshock_simulator.traffic.rate import DAY_SECONDS
from foreshock_simulator.traffic.traces import TraceName, load

Floats = npt.NDArray[np.float64]

START = 1_800_000_000.0
FLOW = FlowSpec("users", "gateway", "POST /v1/chat", rate=1.0)
WIDTHS = (1.0, 10.0, 60.0, 300.0)
SCALES = (1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0)
OFFSETS = 12
SEEDS = range(6)
DRAWS = 100_000
SERVEGEN_RATE = 5.0
AZURE = "azure_llm/data/AzureLLMInferenceTrace_{}.csv"
TRACES: dict[TraceName, str] = {
    "azure-code": AZURE.format("code"),
    "azure-conversation": AZURE.format("conv"),
    "mooncake": "mooncake/conversation_trace.jsonl.gz",
}
COLD_STARTS = ((50, 22.7), (90, 42.0), (99, 51.8))
"""Percentile and seconds: a base model on a warm host, production image generation, 2026."""


def options(_parser: ArgumentParser) -> None:
    """This part has no options."""


def run(arguments: Namespace) -> None:
    """Print the tables, and write the charts if a folder is given."""
    measured = {name: original(arguments.data / path) for name, path in TRACES.items()}
    lengths(measured)
    bursts(measured, arguments.out)
    day(arguments.out)
    capacity()


def original(path: Path) -> Floats:
    """Rows of (seconds since the first, prompt tokens, generated tokens), as published."""
    if path.name.endswith(".csv"):
        with path.open() as file:
            rows = [
                (
                    datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp(),
                    row["ContextTokens"],
                    row["GeneratedTokens"],
                )
                for row in csv.DictReader(file)
            ]
    else:
        with gzip.open(path, "rt") as lines:
            read = [json.loads(line) for line in lines]
        rows = [(row["timestamp"] / 1000.0, row["input_length"], row["output_length"]) for row in read]
    requests = np.array(rows, float)
    requests[:, 0] -= requests[0, 0]
    return requests


def generated(flow: FlowSpec, until: float, seed: int) -> Floats:
    """Rows of a flow, as in `original`."""
    source, rows = arrivals(flow, seed, START), []
    while (arrival := source.next()).time < until:
        rows.append(arrival)
    return np.array(rows, float)


def flow_of(name: TraceName, share: float = 1.0) -> FlowSpec:
    """A flow at a share of the trace's own rate."""
    return replace(FLOW, arrivals=name, tokens=name, rate=share * load(name).rate)


def windows(times: Floats, width: float, period: float) -> Iterator[npt.NDArray[np.int64]]:
    """Counts in the whole windows of a loop, for several offsets of the first window."""
    count = int(period // width)
    for offset in range(OFFSETS):
        index = ((times + offset * width / OFFSETS) % period // width).astype(int)
        yield np.bincount(index, minlength=count)[:count]


def dispersion(times: Floats, width: float, period: float) -> float:
    """Index of dispersion."""
    return float(np.mean([counts.var() / counts.mean() for counts in windows(times, width, period)]))


def peak(times: Floats, width: float, period: float) -> float:
    """Highest count over the mean."""
    return float(np.mean([counts.max() / counts.mean() for counts in windows(times, width, period)]))


def lengths(measured: dict[TraceName, Floats]) -> None:
    """Rates and tokens."""
    print("\nRequests a second, and tokens\n")
    print("| trace | | requests/s | peak/mean, 10 s | prompt p50 | p99 | answer p50 | p99 |")
    print("|---|---|---|---|---|---|---|---|")
    for name, rows in measured.items():
        for label, requests in (("measured", rows), ("flow", generated(flow_of(name), load(name).period, 1))):
            highest = peak(requests[:, 0], 10.0, load(name).period)
            tokens = [f"{np.percentile(requests[:, column], q):,.0f}" for column in (1, 2) for q in (50, 99)]
            rate = f"{len(requests) / load(name).period:.2f}"
            print(f"| {name} | {label} | {rate} | {highest:.2f} | {' | '.join(tokens)} |")


def bursts(measured: dict[TraceName, Floats], out: Path | None) -> None:
    """Index of dispersion on each scale: of the trace, of the flow, and of a flow at half the rate."""
    print("\nIndex of dispersion of counts (variance over mean; Poisson: 1)\n")
    print("| trace | | " + " | ".join(f"{width:.0f} s" for width in WIDTHS) + " |")
    print("|---|---" + "|---" * len(WIDTHS) + "|")
    lines = []
    for color, (name, rows) in enumerate(measured.items()):
        period = load(name).period
        measured_dispersion = {width: dispersion(rows[:, 0], width, period) for width in SCALES}
        ours = average(flow_of(name), period)
        half = average(flow_of(name, 0.5), period)
        theory = {width: 1.0 + 0.5 * (ours[width] - 1.0) for width in SCALES}
        for label, row in (
            ("measured", measured_dispersion),
            ("flow", ours),
            ("half the rate", half),
            ("(I + 1) / 2", theory),
        ):
            print(f"| {name} | {label} | " + " | ".join(f"{row[width]:.1f}" for width in WIDTHS) + " |")
        for label, row, dots in (("measured", measured_dispersion, True), ("flow", ours, False)):
            title = f"{name}, {label}" if dots else ""
            lines.append(svg.SvgLine(title, SCALES, [row[width] for width in SCALES], dots, color))
    if out:
        x, y = svg.Axis("window, seconds", log=True), svg.Axis("index of dispersion", log=True)
        svg.write(out / "dispersion.svg", "Burstiness by time scale: dots measured, lines generated", x, y, lines)


def average(flow: FlowSpec, period: float) -> dict[float, float]:
    """Index by window, mean over the seeds."""
    plays = [generated(flow, period, seed)[:, 0] for seed in SEEDS]
    return {width: float(np.mean([dispersion(times, width, period) for times in plays])) for width in SCALES}


def day(out: Path | None) -> None:
    """ServeGen's clients over a day."""
    active = [window for client in traces.clients() for window in client if window.rate > 0.0]
    quantiles = np.percentile([window.cv for window in active], (50, 90, 99))
    totals = np.array([sum(client[window].rate for client in traces.clients()) for window in range(traces.WINDOWS)])
    flow = replace(FLOW, arrivals="servegen", rate=SERVEGEN_RATE)
    times = generated(flow, DAY_SECONDS, 1)[:, 0]
    index = ((START + times) % DAY_SECONDS // traces.WINDOW_SECONDS).astype(int)
    ours = np.bincount(index, minlength=traces.WINDOWS) / traces.WINDOW_SECONDS / SERVEGEN_RATE
    shape = totals / traces.client_rate()
    print(f"\nServeGen: {len(traces.clients())} clients; CV p50 {quantiles[0]:.2f}, p90 {quantiles[1]:.2f}, ", end="")
    print(f"p99 {quantiles[2]:.1f}; peak over median of the day {totals.max() / np.median(totals):.2f}, ", end="")
    print(f"of a flow of {SERVEGEN_RATE:g}/s {ours.max() / np.median(ours):.2f}")
    if out:
        hours = [window / 6.0 for window in range(traces.WINDOWS)]
        lines = [svg.SvgLine("table", hours, shape.tolist(), True), svg.SvgLine("flow", hours, ours.tolist(), color=1)]
        x, y = svg.Axis("hour of the day"), svg.Axis("rate over the day's mean")
        svg.write(out / "servegen.svg", f"ServeGen's clients, {SERVEGEN_RATE:g} requests a second", x, y, lines)


def capacity() -> None:
    """Quantiles of cold start and provisioning times."""
    rng = random_stream(1, "realism")
    cold = [cold_start_seconds(rng, COLD_STARTS[0][1]) for _ in range(DRAWS)]
    nodes = [provisioning_seconds(rng, 380.0) for _ in range(DRAWS)]
    print("\nSeconds until a replica serves, and until a node comes\n")
    print("| | p5 | p50 | p90 | p95 | p99 |")
    print("|---|---|---|---|---|---|")
    measured = dict(COLD_STARTS)
    print(
        "| model load, measured | "
        + " | ".join(f"{measured[q]}" if q in measured else "" for q in (5, 50, 90, 95, 99))
        + " |"
    )
    print(f"| cold start, model | {row(cold)} |")
    print("| node, reported | 240 | | | 600 | |")
    print(f"| provisioning with a median of 380 s | {row(nodes)} |")


def row(values: Sequence[float]) -> str:
    """Percentiles as a table row."""
    return " | ".join(f"{value:.1f}" for value in np.percentile(values, (5, 50, 90, 95, 99)))
