"""The committed boards, and a real Prometheus that holds what they are to show: a recording, its hub, and the rules."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import yaml
from tests.conftest import Incident
from tests.grafana.promql import filled, levels, selectors
from tests.web.costs import LEDGER, PRICES
from tests.web.forecasts import EMBEDDER, FORECAST, RECENT
from tests.web.worlds import NOW

from foreshock_dashboard.analysis.cost.report import cost_report
from foreshock_dashboard.changes.labels import CHANGE_METRIC, EXPORTED_LABELS
from foreshock_dashboard.hub.capacity_metrics import capacity_families
from foreshock_dashboard.hub.cost.metrics import cost_families
from foreshock_dashboard.hub.self_metrics import change_rows
from foreshock_dashboard.model.capacity.load import Subject
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.service import Service
from foreshock_exporter.exposition.text_format import series_text

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "grafana"
OWN = Path(sys.executable)

BESIDES = ("traces_span_metrics_calls_total", "gpu_service_wait_by_aggressor_seconds_total")
"""Metrics that data sources ask for, whether or not a board does."""

Json = dict[str, Any]


@pytest.fixture(scope="session")
def boards() -> list[Json]:
    """The committed boards."""
    return [json.loads(file.read_text()) for file in sorted((FOLDER / "dashboards").glob("*.json"))]


def panels(boards: Sequence[Json]) -> Iterator[Json]:
    """Every panel that shows data."""
    for board in boards:
        yield from (panel for panel in board["panels"] if panel["type"] != "row")


def queries(boards: Sequence[Json]) -> dict[str, str]:
    """Every query as Grafana would send it, by board, panel and name; those of annotations and variables as well."""
    found: dict[str, str] = {}
    for board in boards:
        for panel in panels([board]):
            for target in panel["targets"]:
                found[f"{board['uid']}: {panel['title']} {target['refId']}"] = filled(target["expr"])
        for note in board["annotations"]["list"]:
            found[f"{board['uid']}: annotation {note['name']}"] = filled(note["expr"])
        for variable in board["templating"]["list"]:
            if values := re.fullmatch(r"label_values\(([\w:]+), (\w+)\)", variable.get("definition", "")):
                found[f"{board['uid']}: variable {variable['name']}"] = f'{values[1]}{{{values[2]}!=""}}'
    return found


def records() -> dict[str, str]:
    """The recording rules of alerts/: expressions by name."""
    files = sorted((ROOT / "alerts").glob("*.rules.yml"))
    rules = [rule for file in files for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
    return {rule["record"]: rule["expr"] for rule in rules if "record" in rule}


class Recorded(NamedTuple):
    """Where Prometheus answers, and the time (Unix seconds) at which the recording ends."""

    url: str
    end: float


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"


@contextmanager
def _started(command: Sequence[str | Path], ready: str) -> Iterator[str]:
    """The first group of the first line of a process's output that matches, while the process runs."""
    with subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        seen = ""
        for line in process.stdout:
            seen += line
            if match := re.search(ready, seen):
                break
        else:
            pytest.fail(f"{command[0]} ended: {seen[-2000:]}")
        drain = threading.Thread(target=process.stdout.read)
        drain.start()
        try:
            yield match[1]
        finally:
            process.terminate()
            process.wait(30)
            drain.join()


def _hub_page(recording: Path) -> str:
    """The hub's own metrics where it stands at the end of a recording."""
    ports = ("--port=0", "--otlp-grpc-port=0", "--otlp-http-port=0")
    with _started(
        [OWN.with_name("foreshock"), "serve", "--recording", recording, *ports], r"page +(http://[\d.:]+)"
    ) as url:
        page: str = httpx.get(f"{url}/metrics", timeout=60).text
    assert "foreshock_incident_info{" in page
    return page


def _reported(at: float) -> str:
    """A reported change as the hub's page has it: the scenario has none, and a replay takes no report."""
    [(values, time)] = change_rows([Change(at, "deployment", Service("", "chat"), after="2")], at).items()
    labels = dict(zip(EXPORTED_LABELS, values, strict=True))
    return f"{series_text(CHANGE_METRIC, tuple(labels.items()))} {time}\n"


def _capacity_and_cost() -> str:
    """A capacity forecast and the cost of a day as the hub's page has them: the scenario is shorter than both need."""
    forecast = replace(
        FORECAST, shortages=(*FORECAST.shortages, replace(RECENT, subject=Subject(EMBEDDER, ""), room=8.0))
    )
    families = (*capacity_families(forecast, NOW), *cost_families(cost_report(LEDGER, 86_400.0, PRICES)))
    samples = [sample for family in families for sample in family.samples]
    return "".join(f"{series_text(each.name, tuple(each.labels.items()))} {each.value}\n" for each in samples)


CGROUP_METRICS = (
    "gpu_service_cpu_waiting_seconds_total",
    "gpu_service_host_io_waiting_seconds_total",
    "gpu_service_host_memory_waiting_seconds_total",
    "gpu_service_page_cache_refaults_total",
)


def _cgroup_pressure(end: float) -> Iterator[str]:
    """The cgroup of a service as an exporter has it: simulated hosts have no cgroups."""
    labels = 'instance="host-1:10877",source="pod",service_namespace="serving",service_name="llm-chat"'
    for metric in CGROUP_METRICS:
        for age in range(600, -1, -30):
            yield f"{metric}{{{labels}}} {0.2 * (600 - age)} {end - age:.3f}\n"


def _openmetrics(exported: Path, page: str, end: float, wanted: frozenset[str]) -> Iterator[str]:
    """The samples of the wanted metrics: those of the recording, and the hub's page as scraped at the end.

    The hub started half a minute before, with counters at 0.
    """
    with exported.open() as lines:
        for line in lines:
            if line.partition("{")[0].partition(" ")[0] in wanted:
                yield line
    for name, labels, value in re.findall(r"^(foreshock_\w+)(?:\{(.*)\})? (\S+)$", page, re.MULTILINE):
        if name in wanted:
            given = ",".join(filter(None, (labels, 'job="foreshock-hub"', 'instance="hub:8050"')))
            if name.endswith(("_total", "_sum", "_count", "_bucket")):
                yield f"{name}{{{given}}} 0 {end - 30:.3f}\n"
            yield f"{name}{{{given}}} {value} {end:.3f}\n"
    yield from _cgroup_pressure(end)
    yield "# EOF\n"


@contextmanager
def _prometheus(folder: Path) -> Iterator[str]:
    config = folder / "prometheus.yml"
    config.write_text("global: {}\n")
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    command += ["--web.listen-address=127.0.0.1:0", "--storage.tsdb.retention.time=100y"]
    with _started(command, r"(?s)(?=.*Listening on\"? .*?address=(127\S+)).*Server is ready to receive web") as address:
        yield f"http://{address}"


def _evaluated(folder: Path, start: float, end: float, rules: Mapping[str, str]) -> None:
    """Write what recording rules would have recorded; they see what is there before."""
    file = folder / "rules.yml"
    listed = [{"record": name, "expr": expression} for name, expression in rules.items()]
    file.write_text(yaml.safe_dump({"groups": [{"name": "recorded", "interval": "30s", "rules": listed}]}))
    with _prometheus(folder) as url:
        _run(
            "promtool", "tsdb", "create-blocks-from", "rules", f"--url={url}", f"--start={start:.0f}",
            f"--end={end:.0f}", f"--output-dir={folder / 'data'}", file,
        )  # fmt: skip


@pytest.fixture(scope="session")
def recorded(boards: list[Json], incident: Incident, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """Export a recording, let a hub stand at its end, load it with promtool, and evaluate the recording rules."""
    for name in ("prometheus", "promtool"):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed; `make setup-tests` installs it")
    folder = tmp_path_factory.mktemp("recorded")
    recording, exported, wanted = incident("starve"), folder / "all.om", folder / "wanted.om"
    _run(OWN.with_name("foreshock"), "recording", "export", recording, "--openmetrics", exported)
    meta = json.loads((recording / "meta.json").read_text())
    selected = [*queries(boards).values(), *records().values(), *BESIDES]
    metrics = frozenset(selector.metric for expression in selected for selector in selectors(expression))
    page = _hub_page(recording) + _reported(meta["end"]) + _capacity_and_cost()
    with wanted.open("w") as file:
        file.writelines(_openmetrics(exported, page, meta["end"], metrics))
    _run("promtool", "tsdb", "create-blocks-from", "openmetrics", wanted, folder / "data")
    for level in levels(records()):
        _evaluated(folder, meta["start"], meta["end"], level)
    with _prometheus(folder) as url:
        yield Recorded(url, meta["end"])
    shutil.rmtree(folder)
