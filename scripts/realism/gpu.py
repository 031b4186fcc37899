"""The GPU part of docs/internals/realism.md: the model of GPUs and model servers compared with measurements."""

from __future__ import annotations

import ast
import csv
import gzip
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt

from foreshock_dashboard.web.charts import svg
from foreshock_simulator.core.engine import Engine
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.hardware.gpu import Gpu
from foreshock_simulator.hardware.models import MODELS
from foreshock_simulator.hardware.worker import GpuWork, Worker
from foreshock_simulator.serving.steps import layer_seconds
from scripts.realism.gpu_population import POPULATIONS, Population, slowdowns

Floats = npt.NDArray[np.float64]

PERCENTS = (10, 50, 90, 99)
PAIRS = 20_000
SEED = 2
TOKENS = (1, 16, 64, 256, 1024, 4096)
IGNITER = {"W": (118, 185, 259, 296, 295), "MHz": (1530, 1530, 1530, 1486, 1431)}
"""One to five models side by side on a V100 (Xu et al., iGniter, TPDS 2023)."""
IGNITER_WORK = GpuWork(1e6, sm=0.2, dram=0.16, tensor=0.17, kernels=3000.0)
"""Set by hand, since the paper does not state the use of its models."""


def options(parser: ArgumentParser) -> None:
    """Add the options of this part."""
    parser.add_argument("--fit", action="store_true", help="refit the populations of jobs (minutes) and print them")


def run(arguments: Namespace) -> None:
    """Print the tables, and write the charts if a folder is given."""
    pairs(arguments.data / "gavel" / "simulation_throughputs.json.gz", arguments.out, fit=arguments.fit)
    power()
    steps(arguments.data / "vidur" / "data" / "profiling" / "compute", arguments.out)


def measured_pairs(path: Path) -> dict[str, Floats]:
    """Slowdowns (throughput alone / in a pair) of Gavel's jobs on one GPU, by kind of GPU."""
    slowdowns_by_gpu = {}
    with gzip.open(path, "rt") as file:
        data = json.load(file)
    for gpu in POPULATIONS:
        jobs = {name: row for name, row in data[gpu.lower()].items() if ast.literal_eval(name)[1] == 1}
        slowdowns_by_gpu[gpu] = np.array(
            [
                row["null"] / pair[0]
                for row in jobs.values()
                for other, pair in row.items()
                if other in jobs and pair[0] > 0.0 and pair[1] > 0.0
            ]
        )
    return slowdowns_by_gpu


def pairs(path: Path, out: Path | None, *, fit: bool) -> None:
    """Quantiles of slowdowns in pairs: measured by Gavel, and of the model."""
    measured = measured_pairs(path)
    populations = {gpu: fitted(gpu, values) for gpu, values in measured.items()} if fit else POPULATIONS
    print("\nSlow-down of a job that shares its GPU with another (alone = 1)\n")
    print("| GPU | pairs | | " + " | ".join(f"p{percent}" for percent in PERCENTS) + " |")
    print("|---|---|---" + "|---" * len(PERCENTS) + "|")
    for gpu, values in measured.items():
        model = drawn(populations[gpu], PAIRS)
        real, ours = np.percentile(values, PERCENTS), np.percentile(model, PERCENTS)
        for name, row in (("measured", real), ("model", ours)):
            print(f"| {gpu} | {len(values)} | {name} | " + " | ".join(f"{value:.2f}" for value in row) + " |")
        print(f"| {gpu} | | error | " + " | ".join(f"{100 * error:+.1f}%" for error in ours / real - 1.0) + " |")
    if out:
        shown = [float(percent) for percent in range(1, 100)]
        lines = []
        for color, (gpu, values) in enumerate(measured.items()):
            model = np.percentile(drawn(populations[gpu], PAIRS), shown).tolist()
            lines.append(svg.SvgLine(gpu, shown, np.percentile(values, shown).tolist(), dots=True, color=color))
            lines.append(svg.SvgLine("", shown, model, color=color))
        title = "Slow-down of jobs in pairs: Gavel's measurements (dots) and the model"
        percentile, times = svg.Axis("percentile of pairs"), svg.Axis("times as long as alone", log=True)
        svg.write(out / "pairs.svg", title, percentile, times, lines)


def drawn(population: Population, count: int) -> Floats:
    """Slowdowns in `count` drawn pairs."""
    return np.fromiter(slowdowns(population, count, Random(SEED)), float)  # noqa: S311 - simulated chance


def fitted(gpu: str, values: Floats) -> Population:
    """The population with the smallest worst relative error of a quantile, by random descent from the present one."""
    real, rng = np.percentile(values, PERCENTS), np.random.default_rng(SEED)

    def error(logs: Floats) -> float:
        if np.abs(logs).max() > 12.0:
            return np.inf
        errors = np.abs(np.percentile(drawn(Population(*np.exp(logs)), 3000), PERCENTS) / real - 1.0)
        return float(errors.max() + 0.1 * errors.mean())

    present = POPULATIONS[gpu]
    start = np.log([present.a, present.b, present.interval, present.spread])
    best, best_error = start, error(start)
    for _ in range(3):
        point = start + rng.normal(0.0, 0.4, 4)
        point_error, size = error(point), 0.2
        for _ in range(120):
            candidate = point + rng.normal(0.0, size, 4) * (rng.random(4) < 0.7)
            if (candidate_error := error(candidate)) < point_error:
                point, point_error, size = candidate, candidate_error, min(0.5, 1.4 * size)
            else:
                size = max(0.01, 0.95 * size)
        if point_error < best_error:
            best, best_error = point, point_error
    a, b, interval, spread = np.exp(best)
    print(f'"{gpu}": Population(a={a:.3g}, b={b:.3g}, interval={interval:.3g}, spread={spread:.3g})', flush=True)
    return Population(float(a), float(b), float(interval), float(spread))


def power() -> None:
    """Power and clock of a V100 with one to five models."""
    print("\nA V100 with so many models side by side (MPS)\n")
    print("| models | measured | model |\n|---|---|---|")
    for models in range(1, 6):
        engine = Engine()
        gpu = Gpu(engine, MODELS["V100"], "host", 0, "mps")
        for pid in range(models):
            Worker([gpu], pid, ServiceName("", "model"), 0.0).run(IGNITER_WORK)
        measured = f"{IGNITER['W'][models - 1]} W, {IGNITER['MHz'][models - 1]} MHz"
        print(f"| {models} | {measured} | {gpu.power_watts:.0f} W, {gpu.clock_hertz / 1e6:.0f} MHz |")


def measured_layers(folder: Path) -> Iterator[tuple[str, str, Floats]]:
    """Measurements of Vidur: GPU, model, and rows.

    A row has tensor-parallel GPUs, tokens, width, parameters, and seconds of a layer.
    """
    for path in sorted(folder.glob("*/*/*/mlp.csv.gz")):
        rows = []
        with gzip.open(path, "rt") as file:
            for row in csv.DictReader(file):
                width, inner = float(row["n_embd"]), float(row["n_expanded_embd"])
                shared = float(row["n_kv_head"]) / float(row["n_head"])
                weights = (2.0 + 2.0 * shared) * width * width + 3.0 * width * inner
                kernels = [key for key in row if key.endswith(".median") and ".emb." not in key]
                seconds = 1e-3 * sum(float(row[key]) for key in kernels)
                rows.append(
                    (float(row["num_tensor_parallel_workers"]), float(row["num_tokens"]), width, weights, seconds)
                )
        yield path.parts[-4].upper(), path.parts[-2], np.array(rows)


def steps(folder: Path, out: Path | None) -> None:
    """Errors of the formula of a layer's time over all of Vidur's points."""
    print("\nTime of a transformer layer without attention: error of the formula against Vidur's kernel times\n")
    print("| GPU | model | points | mean | p50 | p90 | largest |\n|---|---|---|---|---|---|---|")
    lines = []
    for color, (gpu, model, rows) in enumerate(measured_layers(folder)):
        ours = np.array([_layer(gpu, row) for row in rows])
        errors = 100.0 * np.abs(ours / rows[:, 4] - 1.0)
        p50, p90 = np.percentile(errors, (50, 90))
        shares = " | ".join(f"{share:.1f}%" for share in (errors.mean(), p50, p90, errors.max()))
        print(f"| {gpu} | {model} | {len(rows)} | {shares} |")
        shown = rows[(rows[:, 0] == 1) & np.isin(rows[:, 1], TOKENS)]
        shown = shown[np.argsort(shown[:, 1])]
        name = f"{model.removesuffix('-hf')} {gpu}"
        lines.append(svg.SvgLine(name, shown[:, 1].tolist(), (1e3 * shown[:, 4]).tolist(), dots=True, color=color))
        tokens = np.geomspace(1, 4096, 60).tolist()
        curve = [1e3 * _layer(gpu, (1.0, count, shown[0, 2], shown[0, 3])) for count in tokens]
        lines.append(svg.SvgLine("", tokens, curve, color=color))
    if out:
        title = "A layer of Llama-2 on one GPU: Vidur (dots) and the formula"
        svg.write(out / "steps.svg", title, svg.Axis("tokens", log=True), svg.Axis("ms", log=True), lines)


def _layer(gpu: str, row: Floats | tuple[float, ...]) -> float:
    gpus, tokens, width, weights = row[:4]
    return layer_seconds(MODELS[gpu], weights, width, tokens, int(gpus))
