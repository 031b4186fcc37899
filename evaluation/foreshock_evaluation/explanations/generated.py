"""Labeled recordings of generated shops: gauges of twelve services, most with one fault, at any resolution.

    python -m foreshock_evaluation.explanations.generated OUT 60 48 --first-seed 1000
    python -m foreshock_evaluation explain --recordings OUT --offsets 0 --ask users

A seed draws the calls between services, the load, the noise, ordinary bursts of CPU, and the fault. Nothing in them
is of a real system. Latency is that of a service and its callees; other metrics show a fault at its own service only.
Many faults are too weak to be seen, so that figures compare methods and versions rather than say how good they are.
Seeds 0 to 47 are for development; figures on seeds that no value was set on need `--first-seed`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.samples import labels_of
from foreshock_dashboard.model.types import Floats, Json
from foreshock_dashboard.recording.meta import RecordingMeta
from foreshock_dashboard.recording.writer import RecordingWriter

SERVICES = (
    *("front", "cart", "catalog", "user", "orders", "payment"),
    *("shipping", "recommend", "ads", "currency", "email", "store"),
)
KINDS = ("cpu", "memory", "delay", "loss", "disk", "fault-free")
START = 1_790_000_000.0
FAULT_SECONDS, HISTORY_SECONDS, HISTORY_POINTS = 600.0, 1200.0, 180
"""Length of a fault, of at least five points, and of the time before it: the larger of seconds and points."""
LOAD_RATE = 30.0
"""Requests per second of the users."""
CALLS_PER_REQUEST = (0.1, 0.3, 0.6, 1.0, 2.0)
SLOWEST_SECONDS = 120.0
"""Time after the onset in which the slowest service is the one that users ask about."""


class Shop(NamedTuple):
    """Metrics by name, shape (services, times). kind: of the fault; suspect, slowest: services."""

    kind: str
    suspect: str
    slowest: str
    times: Floats
    onset: float
    metrics: dict[str, Floats]


def shop(seed: int, step: float) -> Shop:
    """The shop of a seed, with a point every `step` seconds."""
    random = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)]
    history = max(HISTORY_SECONDS, HISTORY_POINTS * step)
    times = START - START % step + np.arange(0, history + max(FAULT_SECONDS, 5 * step), step)
    onset = float(times[0] + history)
    suspect = int(random.integers(len(SERVICES)))
    ramp = np.clip((times - onset) / random.choice([step, 30.0]), 0.0, 1.0) * float(random.choice([0.6, 1.0, 2.0]))
    calls = _calls(random)
    rate = np.zeros((len(SERVICES), len(times)))
    rate[0] = LOAD_RATE * np.exp(_wander(random, times, 300.0, 0.12))
    for client, called in enumerate(calls):
        rate += called[:, None] * rate[client]
    rows: dict[str, list[Floats]] = {name: [] for name in ("own", "cpu", "memory", "errors")}
    for i in range(len(SERVICES)):
        fault = (kind, ramp) if i == suspect else ("", np.zeros(len(times)))
        for name, values in zip(rows, _service(random, times, rate[i], *fault), strict=True):
            rows[name].append(values)
    total = np.stack(rows["own"])
    for client in reversed(range(len(SERVICES))):
        total[client] += calls[client] @ total
    noisy = [
        total * factor * np.exp(s * random.standard_normal(total.shape)) for factor, s in ((1.0, 0.03), (2.2, 0.12))
    ]
    after = (times >= onset) & (times <= onset + max(SLOWEST_SECONDS, 3 * step))
    growth = np.median(noisy[1][:, after], axis=1) / np.median(noisy[1][:, times < onset], axis=1)
    metrics = {
        "latency_p50_seconds": noisy[0],
        "latency_p90_seconds": noisy[1],
        "request_rate": rate * np.exp(0.05 * random.standard_normal(rate.shape)),
        "cpu_usage": np.stack(rows["cpu"]),
        "memory_usage_bytes": np.stack(rows["memory"]),
        "errors": np.stack(rows["errors"]),
    }
    return Shop(kind, SERVICES[suspect], SERVICES[int(growth.argmax())], times, onset, metrics)


def _calls(random: np.random.Generator) -> Floats:
    """Calls per request by client and server; a service calls later ones only, and each but the first is called."""
    calls = np.zeros((len(SERVICES), len(SERVICES)))
    for client in range(len(SERVICES) - 1):
        servers = random.choice(np.arange(client + 1, len(SERVICES)), min(2, len(SERVICES) - client - 1), replace=False)
        calls[client, servers] = random.choice(CALLS_PER_REQUEST, len(servers))
    for server in np.flatnonzero(~calls.any(axis=0))[1:]:
        calls[random.integers(server), server] = random.choice(CALLS_PER_REQUEST)
    return calls


def _wander(random: np.random.Generator, times: Floats, seconds: float, spread: float) -> Floats:
    """An autoregressive series with that time constant and standard deviation."""
    keep = float(np.exp(-(times[1] - times[0]) / seconds))
    values = spread * random.standard_normal(len(times))
    for i in range(1, len(times)):
        values[i] = keep * values[i - 1] + np.sqrt(1 - keep**2) * values[i]
    return values


def _service(
    random: np.random.Generator, times: Floats, rate: Floats, kind: str, ramp: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Own seconds, CPU, memory, and errors of a service; ramp: the strength of its fault at each time."""
    seconds = float(random.choice([0.003, 0.01, 0.03]))
    own = seconds * np.exp(_wander(random, times, 30.0, random.uniform(0.03, 0.15)))
    cpu = (
        random.uniform(0.02, 0.3)
        * rate
        / rate.mean()
        * np.exp(_wander(random, times, 30.0, random.choice([0.05, 0.3])))
    )
    for begin in random.uniform(
        times[0], times[-1], random.poisson(np.ptp(times) / 600 * random.choice([0.0, 0.5, 1.5]))
    ):
        cpu[(times >= begin) & (times < begin + random.choice([10.0, 60.0]))] *= random.uniform(1.5, 4.0)
    memory = random.uniform(2e7, 3e8) * (1 + _wander(random, times, 1800.0, 0.02))
    errors = np.maximum(0.0, random.choice([0.0, 0.2]) * _wander(random, times, 30.0, 1.0))
    match kind:
        case "cpu":
            cpu, own = cpu + 0.5 * ramp, own + seconds * ramp * random.choice([0.3, 1.5, 4.0])
        case "memory":
            memory, own = memory * (1 + ramp), own + seconds * ramp * random.choice([0.0, 0.2, 1.0])
        case "delay":
            own = own + ramp * random.choice([0.05, 0.2, 0.5])
        case "loss":
            own, errors = (
                own + ramp * random.choice([0.02, 0.1]),
                errors + 0.03 * rate * ramp * random.choice([0.0, 1.0]),
            )
        case "disk":
            cpu, own = cpu * (1 + 0.5 * ramp), own + seconds * ramp * random.choice([0.5, 2.0])
    return own, cpu, memory, errors


def write(made: Shop, folder: Path, seed: int, step: float) -> None:
    """Write a labeled recording."""
    is_fault = made.kind != "fault-free"
    truth: Json = {
        "scenario": made.kind,
        "kind": made.kind,
        "seed": seed,
        "topology": f"generated {step:g} s",
        "start": float(made.times[0]),
        "end": float(made.times[-1]),
        "asked": made.slowest,
        "onset": made.onset if is_fault else None,
        "root_cause": made.suspect if is_fault else None,
    }
    with RecordingWriter(folder, RecordingMeta(scenario=folder.name, scrape_interval=step)) as writer:
        for metric, rows in made.metrics.items():
            for service, values in zip(SERVICES, rows, strict=True):
                number = writer.series(metric, labels_of({"service": service}))
                milliseconds = np.rint(made.times * 1000).astype(np.int64)
                writer.add(np.full(len(values), number, np.int32), milliseconds, values)
        writer.add_ground_truth(truth)


def main(argv: Sequence[str]) -> int:
    """Write recordings of consecutive seeds; returns the exit code: 0, or 2 for wrong usage."""
    match argv:
        case [out, step, number, *rest] if re.fullmatch(r"[1-9]\d* [1-9]\d*( --first-seed \d+)?", " ".join(argv[1:])):
            first = int(rest[-1]) if rest else 0
            for seed in range(first, first + int(number)):
                made = shop(seed, float(step))
                write(made, Path(out) / f"{seed:04}-{made.kind}", seed, float(step))
            return 0
        case _:
            sys.stderr.write(
                "usage: python -m foreshock_evaluation.explanations.generated OUT SECONDS NUMBER [--first-seed SEED]\n"
            )
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
