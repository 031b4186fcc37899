"""Firing times of the alerts on simulated cascades and benign runs: the tables of docs/internals/alert-latency.md.

  .venv/bin/python -m scripts.docs.alert_table                        all scenarios, into its document
  .venv/bin/python -m scripts.docs.alert_table starve calm --print    these, on the terminal

Each scenario is recorded by `foreshock dev simulate` on a small platform. Prometheus evaluates the rules over its
samples (alert_timeline.py). Minutes count from the first SLO breach of a service besides the origin: −3 is three
minutes before. SLOs are those of the scenario. "Foreign" is the same recording under the names of dcgm-exporter, vLLM
and Tempo alone, without a hub.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.rules.slo_rules import slo_rule_groups
from foreshock_evaluation.scores.truth import Truth, read_truth
from foreshock_simulator.scenarios.load import load, names
from scripts.docs.alert_timeline import ROOT, Firing, rules_of, samples_of, timeline

DOCUMENT = ROOT / "docs/internals/alert-latency.md"
BEGIN, END = "<!-- alert-table -->\n", "<!-- /alert-table -->"
Firsts = Mapping[str, float]
"""First firing of each alert that did not end before the fault, Unix seconds; without `CONSTANT`."""
PREFIX = "Foreshock"
CONSTANT = f"{PREFIX}MetastableRisk"
"""Fires in every scenario, because of the retry policy of the simulated callers."""


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """A scenario, its ground truth, and the first firings; foreign: with foreign names alone."""

    name: str
    truth: Truth
    start: float
    firsts: Firsts
    foreign: Firsts

    @property
    def onset(self) -> float | None:
        """First SLO breach of a service besides the origin, Unix seconds; None without one."""
        return self.truth.cascade_onset if self.truth.cascaded else None


def scenario_result(name: str, seed: int, duration: str | None) -> ScenarioResult:
    """Record a scenario for a duration, by default that of the scenario, and evaluate the rules."""
    services = load(name, "small", seed).platform.services
    slos = [(str(Service(*item.name)), item.slo.latency, 1 - item.slo.objective) for item in services if item.slo]
    groups: Any = slo_rule_groups(slos)
    rules = [*rules_of(), *(rule for group in groups for rule in group["rules"])]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / name
        command: list[str | Path] = [Path(sys.executable).with_name("foreshock"), "dev", "simulate", name]
        command += ["--size", "small", "--seed", str(seed), "--span-sampling", "0.001", "--output-dir", folder]
        command += ["--duration", duration] if duration else []
        subprocess.run(command, check=True, capture_output=True)
        text, start, end = samples_of(folder, rules)
        truth = read_truth(folder)
    since = truth.onset if truth.onset is not None else start
    firsts, foreign = (_firsts(timeline(part, start, end, rules), since) for part in (text, as_foreign(text)))
    return ScenarioResult(name, truth, start, firsts, foreign)


def _firsts(firings: Sequence[Firing], since: float) -> Firsts:
    firsts: dict[str, float] = {}
    for firing in firings:
        if firing.alert != CONSTANT and (firing.end is None or firing.end > since):
            firsts[firing.alert] = min(firing.start, firsts.get(firing.alert, float("inf")))
    return firsts


def as_foreign(text: str) -> str:
    """Samples of the same fleet without foreshock: names of Tempo and dcgm-exporter, no retries, no hub."""
    lines = []
    for line in text.splitlines():
        name = re.split(r"[{ ]", line, maxsplit=1)[0]
        if name in _RENAMED:
            line = line.replace(name, _RENAMED[name], 1).replace('service_name="', 'service="')
            line = line.replace('uuid="', 'UUID="')
        elif not name.startswith(("vllm:", "traces_service_graph_", "kube_", "node_", "#")):
            continue
        lines.append(line)
    up = [line for line in text.splitlines() if line.startswith("up{")]
    return "\n".join([*up, *sorted(lines[:-1], key=lambda line: re.split(r"[{ ]", line, maxsplit=1)[0]), lines[-1], ""])


_RENAMED = {
    "traces_span_metrics_calls_total": "traces_spanmetrics_calls_total",
    "traces_span_metrics_duration_seconds_bucket": "traces_spanmetrics_latency_bucket",
    "gpu_row_remap_failed": "DCGM_FI_DEV_ROW_REMAP_FAILURE",
}


def minutes(seconds: float) -> str:
    """Whole minutes, before (−) or after."""
    value = round(seconds / 60)
    return f"−{-value}" if value < 0 else str(value)


def tables(results: Sequence[ScenarioResult]) -> str:
    """The tables by scenario and by alert."""
    order = list(dict.fromkeys(rule["alert"] for rule in rules_of() if "alert" in rule))
    lines = [
        "| Scenario | First fault | Alerts, minutes from the onset of the cascade | Without the hub and the exporter |"
    ]
    lines.append("|---|---|---|---|")
    for result in results:
        fault = result.truth.onset
        zero = result.onset if result.onset is not None else fault or result.start
        begin = minutes(fault - zero) if result.onset is not None and fault is not None else "–"
        lines.append(f"| `{result.name}` | {begin} | {_text(result.firsts, zero)} | {_text(result.foreign, zero)} |")
    cascades = [(result, result.onset) for result in results if result.onset is not None]
    benign = [result for result in results if result.onset is None]
    lines += [
        "",
        f"| Alert | Of {len(cascades)} cascades | Minutes from the onset, median | Of {len(benign)} benign scenarios |",
    ]
    lines.append("|---|---|---|---|")
    for name in order:
        delays = [result.firsts[name] - onset for result, onset in cascades if name in result.firsts]
        false = sum(name in result.firsts for result in benign)
        if delays or false:
            middle = minutes(median(delays)) if delays else "–"
            lines.append(f"| {name.removeprefix(PREFIX)} | {len(delays)} | {middle} | {false} |")
    fired = {CONSTANT}.union(*(result.firsts for result in results))
    quiet = [name.removeprefix(PREFIX) for name in order if name not in fired]
    lines += ["", f"Not firing in any of these: {', '.join(quiet)}."]
    return "\n".join(lines) + "\n"


def _text(firsts: Firsts, zero: float) -> str:
    by_time = sorted(firsts.items(), key=lambda item: item[1])
    return ", ".join(f"{name.removeprefix(PREFIX)} {minutes(time - zero)}" for name, time in by_time) or "none"


def with_tables(document: str, table: str) -> str:
    """The document with the tables between its markers."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest:
        raise SystemExit(f"{DOCUMENT}: has no place for the tables, {BEGIN.strip()} … {END}")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main() -> None:
    """Evaluate the scenarios, and write or print the tables."""
    os.chdir(ROOT)
    parser = argparse.ArgumentParser(description="Firing times of the alerts on simulated cascades and benign runs.")
    parser.add_argument("scenarios", metavar="SCENARIO", nargs="*", help="all that come along unless named")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--duration", metavar="T", help="simulated time: 40m, 2h (default: what is worth seeing)")
    parser.add_argument("--print", action="store_true", help="write nothing but to the terminal")
    parser.add_argument("--json", action="store_true", help="print each scenario as a JSON object a line")
    arguments = parser.parse_args()
    results = []
    for name in arguments.scenarios or names():
        result = scenario_result(name, arguments.seed, arguments.duration)
        results.append(result)
        if arguments.json:
            times = {"onset": result.onset, "fault": result.truth.onset}
            alerts = {"firsts": result.firsts, "foreign": result.foreign}
            print(json.dumps({"scenario": name} | times | alerts), flush=True)
        else:
            print(f"{name}: {len(result.firsts)} alerts", file=sys.stderr, flush=True)
    results.sort(key=lambda result: result.onset is None)
    if arguments.print:
        print(tables(results))
    elif not arguments.json:
        DOCUMENT.write_text(with_tables(DOCUMENT.read_text(), tables(results)))


if __name__ == "__main__":
    main()
