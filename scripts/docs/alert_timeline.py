"""Firing times of the alerts on a recording, by promtool and a real Prometheus, with the rules of alerts/.

  .venv/bin/python -m scripts.docs.alert_timeline RECORDING [...]

The recording's samples are loaded as a Prometheus would have scraped them, with the incidents that a hub would have
exported (`foreshock_incident_open`, `foreshock_incident_info`). Recording rules are evaluated by `promtool tsdb
create-blocks-from rules`. Alerts are range queries, with `for` and `keep_firing_for` applied as in Prometheus.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml

from foreshock_dashboard.hub.self_metrics import incident_samples
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.replay.replay import replay
from foreshock_dashboard.store.samples.promql_functions import STALE_BITS

ROOT = Path(__file__).parents[2]
STEP_SECONDS = 30
"""Time between evaluations: the `interval` of the groups."""
Rule = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Firing:
    """Interval in which an alert fired for a set of labels, in Unix seconds. end: None if it fires to the end."""

    alert: str
    severity: str
    labels: Mapping[str, str]
    start: float
    end: float | None


def rules_of() -> list[Rule]:
    """All rules, in order."""
    groups = [
        group
        for file in sorted((ROOT / "alerts").glob("*.rules.yml"))
        for group in yaml.safe_load(file.read_text())["groups"]
    ]
    return [rule for group in groups for rule in group["rules"]]


def levels_of(rules: Sequence[Rule]) -> list[list[Rule]]:
    """Recording rules by level; a rule uses series of lower levels only."""
    remaining = [rule for rule in rules if "record" in rule]
    levels: list[list[Rule]] = []
    while remaining:
        missing = {rule["record"] for rule in remaining}
        ready = [rule for rule in remaining if not set(_names(rule["expr"])) & missing - {rule["record"]}]
        if not ready:
            raise SystemExit(f"rules that build on each other in a circle: {', '.join(sorted(missing))}")
        levels.append(ready)
        remaining = [rule for rule in remaining if rule not in ready]
    return levels


def _names(expression: str) -> list[str]:
    return re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", expression)


def samples_of(folder: Path, rules: Sequence[Rule]) -> tuple[str, float, float]:
    """Samples that the rules use and incidents of a hub, as OpenMetrics; and start and end (Unix seconds)."""
    metrics = {name for rule in rules for name in _names(rule["expr"])} | {"target_info"}
    with closing(Recording(folder)) as recording:
        lines = [*_recorded(recording, metrics), *_hub(recording)]
        start, end = recording.meta.start or 0.0, recording.meta.end or 0.0
    text = "".join(lines).replace('job="foreshock"', 'job="foreshock-hub"')
    text = text.replace("foreshock_exporter_mock{", 'foreshock_exporter_mock{environment="demo",')
    return text + "# EOF\n", start, end


def _recorded(recording: Recording, metrics: Collection[str]) -> Iterator[str]:
    """Lines as `foreshock recording export` writes them."""
    for metric, group in groupby(recording.series, key=lambda series: series.metric):
        if metric not in metrics:
            continue
        series = list(group)
        first = series[0].first
        times, values = recording.rows(first, series[-1].last)
        is_fresh = values.view(np.int64) != STALE_BITS
        for one in series:
            labels = ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in one.labels)
            rows = slice(one.first - first, one.last - first)
            fresh = is_fresh[rows]
            for time, value in zip(times[rows][fresh].tolist(), values[rows][fresh].tolist(), strict=True):
                yield f"{metric}{{{labels}}} {str(value).replace('nan', 'NaN')} {time / 1000:.3f}\n"


def _hub(recording: Recording) -> Iterator[str]:
    """Incidents of a hub, scraped every ten seconds."""
    played = replay(recording)
    changes = [*played.history, (float("inf"), ())]
    times_by_series: dict[str, list[float]] = {}
    for (time, incidents), (until, _) in pairwise(changes):
        times = [float(t) for t in played.times if time <= t < until]
        for sample in incident_samples(incidents):
            labels = ",".join(f"{name}={json.dumps(value)}" for name, value in sample.labels if value)
            times_by_series.setdefault(f"{sample.metric}{{{labels},{_HUB_TARGET}}}", []).extend(times)
    for series, times in sorted(times_by_series.items()):  # OpenMetrics wants the series of a metric side by side
        yield from (f"{series} 1 {at:.3f}\n" for at in times)


_HUB_TARGET = 'job="foreshock-hub",instance="hub:8050"'


@contextmanager
def prometheus(data: Path) -> Iterator[str]:
    """Run a Prometheus over blocks; gives its URL."""
    config = data.parent / "prometheus.yml"
    config.write_text("{}")
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        "--web.listen-address=127.0.0.1:0",
    ]
    command += ["--storage.tsdb.retention.time=100y", "--query.lookback-delta=30s"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        drain = threading.Thread(target=process.stderr.read)
        try:
            output = address = ""
            while not (address and "ready to receive" in output):
                line = process.stderr.readline()
                if not line:
                    raise SystemExit(f"prometheus ended:\n{output}")
                output += line
                if match := re.search(r"Listening on\"? .*?address=(127\S+)", line):
                    address = match[1]
            drain.start()
            yield f"http://{address}"
        finally:
            process.terminate()
            if drain.ident is not None:
                drain.join()


def timeline(text: str, start: float, end: float, rules: Sequence[Rule]) -> list[Firing]:
    """Load samples, evaluate the rules over them, and return when each alert fires."""
    with tempfile.TemporaryDirectory() as scratch:
        data, file = Path(scratch) / "data", Path(scratch) / "samples.om"
        file.write_text(text)
        _run("promtool", "tsdb", "create-blocks-from", "openmetrics", file, data)
        first, last = int(start // STEP_SECONDS + 1) * STEP_SECONDS, int(end // STEP_SECONDS) * STEP_SECONDS
        for number, level in enumerate(levels_of(rules)):
            # The offset of a group within an interval follows from the name of its file.
            (Path(scratch) / f"{number}.yml").write_text(
                yaml.safe_dump({"groups": [{"name": "g", "rules": list(level)}]})
            )
            span = (f"--start={first}", f"--end={last}", f"--eval-interval={STEP_SECONDS}s")
            with prometheus(data) as url:
                arguments = ("--url=" + url, "--output-dir=data", *span, f"{number}.yml")
                _run("promtool", "tsdb", "create-blocks-from", "rules", *arguments, folder=Path(scratch))
        with prometheus(data) as url:
            return [item for rule in rules if "alert" in rule for item in _firings(url, rule, first, last)]


def _firings(url: str, rule: Rule, first: int, last: int) -> Iterator[Firing]:
    parameters = {"query": rule["expr"], "start": first, "end": last, "step": STEP_SECONDS}
    answer = httpx.get(f"{url}/api/v1/query_range", params=parameters, timeout=120).json()
    if answer["status"] != "success":
        raise SystemExit(f"{rule['alert']}: {answer['error']}")
    for series in answer["data"]["result"]:
        active = [float(time) for time, _ in series["values"]]
        labels = {name: value for name, value in series["metric"].items() if name != "__name__"}
        for begin, over in firing(active, _seconds(rule["for"]), _seconds(rule.get("keep_firing_for", "0s")), last):
            yield Firing(rule["alert"], rule["labels"]["severity"], labels, begin, over)


def firing(active: Sequence[float], wait: float, keep: float, last: float) -> Iterator[tuple[float, float | None]]:
    """Start and end of each firing of an alert, from the times (seconds) at which its expression holds."""
    begin: float | None = None
    over = 0.0
    for run in _runs(active):
        if begin is not None and run[0] - over > keep:
            yield begin, over + keep
            begin = None
        if begin is None and run[-1] - run[0] >= wait:
            begin = run[0] + wait
        if begin is not None:
            over = run[-1] + STEP_SECONDS
    if begin is not None:
        yield begin, over + keep if over + keep <= last else None


def _runs(active: Sequence[float]) -> Iterator[list[float]]:
    run: list[float] = []
    for time in active:
        if run and time - run[-1] > STEP_SECONDS:
            yield run
            run = []
        run.append(time)
    if run:
        yield run


def _seconds(duration: str) -> float:
    return float(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


def _run(*command: str | Path, folder: Path | None = None) -> None:
    process = subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True, check=False)
    if process.returncode:
        raise SystemExit(f"{command[0]}: {process.stdout[-2000:]}{process.stderr[-2000:]}")


def main(recordings: Iterable[Path]) -> None:
    """Print each firing on each recording, as one JSON object per line."""
    rules = rules_of()
    for folder in recordings:
        text, start, end = samples_of(folder, rules)
        for interval in timeline(text, start, end, rules):
            print(json.dumps({"recording": str(folder)} | asdict(interval)), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Firing times of the alerts on a recording.")
    parser.add_argument("recordings", metavar="RECORDING", nargs="+", type=Path)
    main(parser.parse_args().recordings)
