"""Which alert fires when on a recording: by promtool and a real Prometheus, with the rules of alerts/.

  .venv/bin/python scripts/alert_timeline.py RECORDING [...]

The recording's samples are loaded as a Prometheus would have scraped them, with what a hub would have said meanwhile
(`foreshock_incident`). Recording rules are evaluated by `promtool tsdb create-blocks-from rules`, alerts by range
queries, to which `for` and `keep_firing_for` are applied as Prometheus does.
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

from foreshock_dashboard.hub.self_metrics import incident_labels
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.replay.replay import replay
from foreshock_dashboard.store.samples.promql_functions import STALE_BITS

ROOT = Path(__file__).parents[1]
STEP = 30
"""Seconds between evaluations: the `interval` of the groups."""
Rule = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Spoken:
    """One stretch during which one alert fired for one set of labels. Unix seconds; `end` None: to the last."""

    alert: str
    severity: str
    labels: Mapping[str, str]
    start: float
    end: float | None


def rules_of(folder: Path = ROOT / "alerts") -> list[Rule]:
    """Every rule, in order."""
    groups = [
        group for file in sorted(folder.glob("*.rules.yml")) for group in yaml.safe_load(file.read_text())["groups"]
    ]
    return [rule for group in groups for rule in group["rules"]]


def levels_of(rules: Sequence[Rule]) -> list[list[Rule]]:
    """Recording rules in an order in which each finds what it builds on."""
    left = [rule for rule in rules if "record" in rule]
    levels: list[list[Rule]] = []
    while left:
        missing = {rule["record"] for rule in left}
        ready = [rule for rule in left if not set(_names(rule["expr"])) & missing - {rule["record"]}]
        if not ready:
            raise SystemExit(f"rules that build on each other in a circle: {', '.join(sorted(missing))}")
        levels.append(ready)
        left = [rule for rule in left if rule not in ready]
    return levels


def _names(expression: str) -> list[str]:
    return re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", expression)


def samples_of(folder: Path, rules: Sequence[Rule]) -> tuple[str, float, float]:
    """What rules ask for and a hub would have said, as OpenMetrics, and the first and last time."""
    wanted = {name for rule in rules for name in _names(rule["expr"])} | {"target_info"}
    with closing(Recording(folder)) as recording:
        lines = [*_recorded(recording, wanted), *_hub(recording)]
        start, end = recording.meta.start or 0.0, recording.meta.end or 0.0
    text = "".join(lines).replace('job="foreshock"', 'job="foreshock-hub"')
    text = text.replace("foreshock_exporter_mock{", 'foreshock_exporter_mock{environment="demo",')
    return text + "# EOF\n", start, end


def _recorded(recording: Recording, wanted: Collection[str]) -> Iterator[str]:
    """As `foreshock export` writes them; a metric's series lie beside each other."""
    for metric, group in groupby(recording.series, key=lambda series: series.metric):
        if metric not in wanted:
            continue
        series = list(group)
        first = series[0].first
        times, values = recording.rows(first, series[-1].last)
        alive = values.view(np.int64) != STALE_BITS
        for each in series:
            labels = ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in each.labels)
            rows = slice(each.first - first, each.last - first)
            for time, value in zip(times[rows][alive[rows]].tolist(), values[rows][alive[rows]].tolist(), strict=True):
                yield f"{metric}{{{labels}}} {str(value).replace('nan', 'NaN')} {time / 1000:.3f}\n"


def _hub(recording: Recording) -> Iterator[str]:
    """The incidents of a hub, scraped every ten seconds, from the moment at which it told them."""
    played = replay(recording)
    changes = [*played.history, (float("inf"), ())]
    found: dict[tuple[tuple[str, str], ...], list[float]] = {}
    for (time, incidents), (until, _) in pairwise(changes):
        for at in (float(t) for t in played.times if time <= t < until):
            for item in incidents:
                if item.phase != "over":
                    found.setdefault(tuple(sorted(incident_labels(item).items())), []).append(at)
    for labels, times in found.items():
        text = ",".join(f"{name}={json.dumps(value)}" for name, value in labels if value)
        yield from (
            f'foreshock_incident{{{text},job="foreshock-hub",instance="hub:8050"}} 1 {at:.3f}\n' for at in times
        )


@contextmanager
def prometheus(data: Path) -> Iterator[str]:
    """A Prometheus over blocks; its URL."""
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
            seen = address = ""
            while not (address and "ready to receive" in seen):
                line = process.stderr.readline()
                if not line:
                    raise SystemExit(f"prometheus ended:\n{seen}")
                seen += line
                if found := re.search(r"Listening on\"? .*?address=(127\S+)", line):
                    address = found[1]
            drain.start()
            yield f"http://{address}"
        finally:
            process.terminate()
            if drain.ident is not None:
                drain.join()


def timeline(text: str, start: float, end: float, rules: Sequence[Rule]) -> list[Spoken]:
    """Load samples, evaluate the rules over them, and tell which alerts fire when."""
    with tempfile.TemporaryDirectory() as scratch:
        data, file = Path(scratch) / "data", Path(scratch) / "samples.om"
        file.write_text(text)
        _run("promtool", "tsdb", "create-blocks-from", "openmetrics", file, data)
        first, last = int(start // STEP + 1) * STEP, int(end // STEP) * STEP
        for at, level in enumerate(levels_of(rules)):
            # When within an interval a group is evaluated follows from the name of its file: the same each time.
            (Path(scratch) / f"{at}.yml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": list(level)}]}))
            span = (f"--start={first}", f"--end={last}", f"--eval-interval={STEP}s")
            with prometheus(data) as url:
                words = ("--url=" + url, "--output-dir=data", *span, f"{at}.yml")
                _run("promtool", "tsdb", "create-blocks-from", "rules", *words, folder=Path(scratch))
        with prometheus(data) as url:
            return [each for rule in rules if "alert" in rule for each in _fired(url, rule, first, last)]


def _fired(url: str, rule: Rule, first: int, last: int) -> Iterator[Spoken]:
    asked = {"query": rule["expr"], "start": first, "end": last, "step": STEP}
    answer = httpx.get(f"{url}/api/v1/query_range", params=asked, timeout=120).json()
    if answer["status"] != "success":
        raise SystemExit(f"{rule['alert']}: {answer['error']}")
    for series in answer["data"]["result"]:
        active = [float(time) for time, _ in series["values"]]
        labels = {name: value for name, value in series["metric"].items() if name != "__name__"}
        for begin, over in firing(active, _seconds(rule["for"]), _seconds(rule.get("keep_firing_for", "0s")), last):
            yield Spoken(rule["alert"], rule["labels"]["severity"], labels, begin, over)


def firing(active: Sequence[float], wait: float, keep: float, last: float) -> Iterator[tuple[float, float | None]]:
    """When an alert whose expression holds at these evaluations starts and stops to fire."""
    begin: float | None = None
    over = 0.0
    for stretch in _stretches(active):
        if begin is not None and stretch[0] - over > keep:
            yield begin, over + keep
            begin = None
        if begin is None and stretch[-1] - stretch[0] >= wait:
            begin = stretch[0] + wait
        if begin is not None:
            over = stretch[-1] + STEP
    if begin is not None:
        yield begin, over + keep if over + keep <= last else None


def _stretches(active: Sequence[float]) -> Iterator[list[float]]:
    stretch: list[float] = []
    for time in active:
        if stretch and time - stretch[-1] > STEP:
            yield stretch
            stretch = []
        stretch.append(time)
    if stretch:
        yield stretch


def _seconds(duration: str) -> float:
    return float(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


def _run(*command: str | Path, folder: Path | None = None) -> None:
    done = subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def main(recordings: Iterable[Path]) -> None:
    """Print what fires on each recording, a JSON object a line."""
    rules = rules_of()
    for folder in recordings:
        text, start, end = samples_of(folder, rules)
        for each in timeline(text, start, end, rules):
            print(json.dumps({"recording": str(folder)} | asdict(each)), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Which alert fires when on a recording.")
    parser.add_argument("recordings", metavar="RECORDING", nargs="+", type=Path)
    main(parser.parse_args().recordings)
