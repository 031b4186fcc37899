"""Which alert fires when, on simulated cascades and look-alikes: writes the tables of docs/alerts.md.

  .venv/bin/python scripts/alert_table.py                        all scenarios, into docs/alerts.md
  .venv/bin/python scripts/alert_table.py starve calm --print    these, on the terminal

Each scenario is recorded by `foreshock simulate` on a small platform, and its samples are judged by the rules in a real
Prometheus (alert_timeline.py). Minutes are counted from the moment at which the first service besides the origin missed
its objective: −3 is three minutes before. Services promise what the scenario says that they do. "Foreign" is the same
recording under the names of dcgm-exporter, vLLM and Tempo alone, without a hub.
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

from alert_timeline import ROOT, Spoken, rules_of, samples_of, timeline
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.slo_rules import slo_rule_groups
from foreshock_evaluation.truth import Truth, read_truth
from foreshock_simulator.scenarios.load import load, names

DOCUMENT = ROOT / "docs/alerts.md"
BEGIN, END = "<!-- alert-table -->\n", "<!-- /alert-table -->"
Firsts = Mapping[str, float]
"""When each alert first fired that was not over before the fault, Unix seconds; `info` tells of nothing wrong."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A scenario, what is true of it, and when each alert first spoke; `foreign`: with foreign names alone."""

    name: str
    truth: Truth
    start: float
    firsts: Firsts
    foreign: Firsts

    @property
    def onset(self) -> float | None:
        """When the first service besides the origin missed its objective; None where none did."""
        return min((self.truth.breached[each] for each in self.truth.victims), default=None)


def judged(name: str, seed: int, duration: str | None) -> Judged:
    """Record a scenario, for so long or all that is worth seeing, and judge it."""
    services = load(name, "small", seed).platform.services
    promises = [(str(Service(*each.name)), each.slo.latency, 1 - each.slo.objective) for each in services if each.slo]
    groups: Any = slo_rule_groups(promises)
    rules = [*rules_of(), *(rule for group in groups for rule in group["rules"])]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / name
        command: list[str | Path] = [Path(sys.executable).with_name("foreshock"), "simulate", name]
        command += ["--size", "small", "--seed", str(seed), "--span-sampling", "0.001", "--out", folder]
        command += ["--duration", duration] if duration else []
        subprocess.run(command, check=True, capture_output=True)
        text, start, end = samples_of(folder, rules)
        truth = read_truth(folder)
    spoken = timeline(text, start, end, rules)
    foreign = timeline(as_foreign(text), start, end, rules)
    since = truth.onset if truth.onset is not None else start
    return Judged(name, truth, start, _firsts(spoken, since), _firsts(foreign, since))


def _firsts(spoken: Sequence[Spoken], since: float) -> Firsts:
    found: dict[str, float] = {}
    for each in spoken:
        if each.severity != "info" and (each.end is None or each.end > since):
            found[each.alert] = min(each.start, found.get(each.alert, float("inf")))
    return found


def as_foreign(text: str) -> str:
    """The same fleet without foreshock: span metrics as Tempo names them, GPUs as dcgm-exporter, no retries, no hub."""
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


def tables(found: Sequence[Judged]) -> str:
    """Both tables: by scenario, and by alert."""
    order = list(dict.fromkeys(rule["alert"] for rule in rules_of() if "alert" in rule))
    lines = [
        "| scenario | first fault | what speaks, in minutes from the onset of the cascade | with foreign names alone |"
    ]
    lines.append("|---|---|---|---|")
    for each in found:
        zero = each.onset if each.onset is not None else each.truth.onset or each.start
        fault = minutes(each.truth.onset - zero) if each.onset is not None and each.truth.onset is not None else "–"
        lines.append(f"| `{each.name}` | {fault} | {_told(each.firsts, zero)} | {_told(each.foreign, zero)} |")
    cascades = [each for each in found if each.onset is not None]
    benign = [each for each in found if each.onset is None]
    lines += [
        "",
        f"| alert | of {len(cascades)} cascades | minutes from the onset, median | of {len(benign)} look-alikes |",
    ]
    lines.append("|---|---|---|---|")
    for name in order:
        when = [each.firsts[name] - each.onset for each in cascades if name in each.firsts and each.onset is not None]
        alike = sum(name in each.firsts for each in benign)
        if when or alike:
            lines.append(f"| {name} | {len(when)} | {minutes(median(when)) if when else '–'} | {alike} |")
    silent = [name for name in order if not any(name in each.firsts for each in found)]
    lines += ["", f"Silent on all of these: {', '.join(silent)}."]
    return "\n".join(lines) + "\n"


def _told(firsts: Firsts, zero: float) -> str:
    by_time = sorted(firsts.items(), key=lambda item: item[1])
    return ", ".join(f"{name} {minutes(time - zero)}" for name, time in by_time) or "nothing"


def written(document: str, table: str) -> str:
    """The document with the tables in their place."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest:
        raise SystemExit(f"{DOCUMENT}: has no place for the tables, {BEGIN.strip()} … {END}")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main() -> None:
    """Judge, and write or print."""
    os.chdir(ROOT)
    parser = argparse.ArgumentParser(description="Which alert fires when, on simulated cascades and look-alikes.")
    parser.add_argument("scenarios", metavar="SCENARIO", nargs="*", help="all that come along unless named")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--duration", metavar="T", help="simulated time: 40m, 2h (default: what is worth seeing)")
    parser.add_argument("--print", action="store_true", help="write nothing but to the terminal")
    parser.add_argument("--json", action="store_true", help="print each scenario as a JSON object a line")
    arguments = parser.parse_args()
    found = []
    for name in arguments.scenarios or names():
        each = judged(name, arguments.seed, arguments.duration)
        found.append(each)
        if arguments.json:
            facts = {"onset": each.onset, "fault": each.truth.onset, "firsts": each.firsts, "foreign": each.foreign}
            print(json.dumps({"scenario": name} | facts), flush=True)
        else:
            print(f"{name}: {len(each.firsts)} alerts", file=sys.stderr, flush=True)
    found.sort(key=lambda each: each.onset is None)
    if arguments.print:
        print(tables(found))
    elif not arguments.json:
        DOCUMENT.write_text(written(DOCUMENT.read_text(), tables(found)))


if __name__ == "__main__":
    main()
