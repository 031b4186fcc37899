"""Labeled recordings from the Nezha data set (Yu et al., ESEC/FSE 2023; MIT license), one per injected fault.

    python -m foreshock_lab.convert.nezha SOURCE OUT

SOURCE holds `rca_data/DAY/` with `DAY-fault_list.json`, `metric/` (one CSV file per pod, a row a minute), and
`trace/` (one file per minute around each fault; some are missing). OUT gets `SYSTEM/traces/NAME`,
`SYSTEM/metrics/NAME`, and `SYSTEM/both/NAME`.

- Faults last about three minutes; all clocks are UTC. Where `inject_time` and `inject_timestamp` differ by a minute,
  the latter agrees with traces and metrics. `TimeStamp` of one pod is 200,000,000 s ahead, so `Time` is read.
- A recording begins with the day, so that its history contains the earlier faults.
- Files have neither kind nor status of spans: a span whose parent is of another pod is a server's, and that parent a
  client's. Statements of SQL are calls of a database.
- Rates become counters under cAdvisor's names, by integration over the minute that ends at the row. Limits of
  kube-state-metrics follow from usage and its share. Pod latencies become the quantiles of a summary under the names
  of OpenTelemetry's conventions, and operations per second its count. The p50 of calls between services has Istio's
  labels. Node usage has the name of node-mixin's recording rule; pods of one node report equal values.
- `PodSuccessRate` is always 0 and left out. `front_service.csv` repeats the front pod's latencies.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson

from foreshock_dashboard.analysis.root_cause.series_owner import without_pod_suffix
from foreshock_dashboard.common.progress import ProgressBar
from foreshock_dashboard.model.samples import SampleBatch, labels_of
from foreshock_dashboard.model.span import Attributes, Kind, Span
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.recording.meta import RecordingMeta
from foreshock_dashboard.recording.span_counting import count_spans
from foreshock_dashboard.recording.writer import RecordingWriter

FAULT_SECONDS = 180.0
"""Length of a fault. Most end after it; those that exhaust a CPU leave queues for another minute or two."""
AFTER_SECONDS = 60.0
"""Time recorded after the end of a fault."""
SPAN_HISTORY_SECONDS = 600.0
"""Time before a fault of which the spans themselves are kept. Their metrics begin with the day."""
SPAN_SCRAPE_SECONDS = 10.0
ROW_SECONDS = 60.0
QUIET_SECONDS, QUIET_AFTER_SECONDS, MAX_QUIET = 3600.0, 1800.0, 6
"""Length of a fault-free recording after the last fault of the day, distance from it, and number of them."""
NAMESPACE = "default"
SQL = ("SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "sql.conn.")
CPU, MEMORY = ("cpu", "core"), ("memory", "byte")
MEBIBYTE = float(1 << 20)


class Signals(NamedTuple):
    """Which signals a recording has."""

    name: str
    traces: bool
    metrics: bool


SIGNALS = (Signals("traces", True, False), Signals("metrics", False, True), Signals("both", True, True))


@dataclass(frozen=True, slots=True)
class Fault:
    """An injected fault; start in Unix seconds."""

    start: float
    service: str
    kind: str

    @property
    def end(self) -> float:
        """End of the fault in Unix seconds."""
        return self.start + FAULT_SECONDS


class Column(NamedTuple):
    """How a column of a pod's CSV file becomes a series: value times `factor`, as a counter if it is a rate."""

    name: str
    metric: str
    factor: float = 1.0
    rate: bool = False
    labels: Mapping[str, str] = {}


COLUMNS = (
    Column("MemoryUsage(Mi)", "container_memory_working_set_bytes", MEBIBYTE),
    Column("SyscallRead", "nezha_pod_syscall_read"),
    Column("SyscallWrite", "nezha_pod_syscall_write"),
    Column("NetworkReceiveBytes", "container_network_receive_bytes_total", rate=True),
    Column("NetworkTransmitBytes", "container_network_transmit_bytes_total", rate=True),
    Column("PodWorkload(Ops)", "http_server_request_duration_seconds_count", rate=True),
    *(
        Column(
            f"Pod{side}LatencyP{q}(s)", f"http_{side.lower()}_request_duration_seconds", labels={"quantile": f"0.{q}"}
        )
        for side in ("Client", "Server")
        for q in (90, 95, 99)
    ),
    Column("NodeCpuUsageRate(%)", "instance:node_cpu_utilisation:rate1m", 0.01),
    Column("NodeMemoryUsageRate(%)", "instance:node_memory_utilisation:ratio", 0.01),
)


class Day:
    """One day of the data set."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.date = folder.name
        listed = orjson.loads((folder / f"{self.date}-fault_list.json").read_bytes())
        self.faults = [
            Fault(float(item["inject_timestamp"]), without_pod_suffix(item["inject_pod"]), item["inject_type"])
            for hour in listed.values()
            for item in hour
        ]
        self.traces = {_minute(path, self.date): path for path in sorted((folder / "trace").glob("*_trace.csv.gz"))}
        construct = folder.parent.parent / "construct_data" / self.date / "trace"
        self.traces |= {_minute(path, self.date): path for path in sorted(construct.glob("*_trace.csv.gz"))}
        self.pods = sorted((folder / "metric").glob("*_metric.csv"))

    @property
    def end(self) -> float:
        """Unix seconds of the last row of the metrics."""
        return max(_time(row[0]) for path in self.pods[:1] for row in _rows(path)[1][-1:])

    def system(self) -> str:
        """Name of the system: `ob` (Online Boutique) or `tt` (Train Ticket)."""
        return "tt" if any(path.name.startswith("ts-") for path in self.pods) else "ob"

    def spans(self, start: float, end: float) -> Iterator[list[Span]]:
        """Spans that ended from `start` to `end`, a file at a time."""
        for minute, path in sorted(self.traces.items()):
            if start <= minute and minute - 2 * ROW_SECONDS < end:
                yield [span for span in read_spans(path) if start * 1e9 <= span.end_ns <= end * 1e9]

    @cached_property
    def counted(self) -> list[SampleBatch]:
        """Scrapes of the metrics of all spans."""
        return [*count_spans(self._by_end(), SPAN_SCRAPE_SECONDS)]

    def _by_end(self) -> Iterator[list[Span]]:
        """All spans in the order of their ends; traces of a file may end after those of the next have begun."""
        waiting: list[Span] = []
        for _, path in sorted(self.traces.items()):
            spans = read_spans(path)
            border = min(span.start_ns for span in spans)
            yield sorted((span for span in waiting if span.end_ns <= border), key=attrgetter("end_ns"))
            waiting = spans + [span for span in waiting if span.end_ns > border]
        yield sorted(waiting, key=attrgetter("end_ns"))

    def has_spans(self, start: float, end: float) -> bool:
        """Whether a file covers a time between `start` and `end`; each ends about 20 s to the minute's end."""
        return any(minute - ROW_SECONDS < end and minute > start for minute in self.traces)


def read_spans(path: Path) -> list[Span]:
    """The spans of a trace file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    pods = {row["SpanID"]: row["PodName"] for row in rows}
    clients = {row["ParentID"] for row in rows if pods.get(row["ParentID"], row["PodName"]) != row["PodName"]}
    resources: dict[str, Attributes] = {
        pod: {"service.name": without_pod_suffix(pod), "k8s.pod.name": pod} for pod in {*pods.values()}
    }
    return [_span(row, _kind(row, pods, clients), resources[row["PodName"]]) for row in rows]


def _kind(row: Mapping[str, str], pods: Mapping[str, str], clients: set[str]) -> Kind:
    if row["ParentID"] == "root" or pods.get(row["ParentID"], row["PodName"]) != row["PodName"]:
        return "server"
    return "client" if row["SpanID"] in clients or row["OperationName"].startswith(SQL) else "internal"


def _span(row: Mapping[str, str], kind: Kind, resource: Attributes) -> Span:
    name = row["OperationName"]
    return Span(
        trace_id=row["TraceID"].rjust(32, "0"),
        span_id=row["SpanID"],
        parent_id="" if row["ParentID"] == "root" else row["ParentID"],
        name=name,
        kind=kind,
        start_ns=int(row["StartTimeUnixNano"]),
        end_ns=max(int(row["StartTimeUnixNano"]), int(row["EndTimeUnixNano"])),
        status="unset",
        status_message="",
        resource=resource,
        attributes={"db.system.name": "mysql"} if name.startswith(SQL) else {},
    )


def add_metrics(writer: RecordingWriter, day: Day, start: float, until: float) -> None:
    """Add the series of all pods, from `start` to `until` (Unix seconds)."""
    nodes: dict[tuple[float, ...], str] = {}
    for path in day.pods:
        header, rows = _rows(path)
        times = np.array([_time(row[0]) for row in rows])
        inside = (times >= start) & (times <= until)
        values = {
            name: np.array([float(row[i] or "nan") for row in rows])[inside] for i, name in enumerate(header) if i > 2
        }
        pod = path.name.removesuffix("_metric.csv")
        key = tuple(values["NodeMemoryUsageRate(%)"][:1].tolist())
        node = nodes.setdefault(key, f"node-{len(nodes) + 1}")
        labels = {"namespace": NAMESPACE, "pod": pod, "container": without_pod_suffix(pod)}
        _add_pod(writer, labels, node, times[inside], values)
    for side, reporter in (("source", "source"), ("destination", "destination")):
        path = day.folder / "metric" / f"{side}_50.csv"
        if path.exists():
            _add_edges(writer, path, reporter, start, until)


def _add_pod(
    writer: RecordingWriter,
    labels: Mapping[str, str],
    node: str,
    times: np.ndarray[tuple[int], np.dtype[np.float64]],
    values: Mapping[str, np.ndarray[tuple[int], np.dtype[np.float64]]],
) -> None:
    usage, share = values["CpuUsage(m)"] / 1000, values["CpuUsageRate(%)"] / 100
    memory, filled = values["MemoryUsage(Mi)"] * MEBIBYTE, values["MemoryUsageRate(%)"] / 100
    cores = _limit(usage, share)
    _add(writer, "container_cpu_usage_seconds_total", labels, times, np.cumsum(share * cores * ROW_SECONDS))
    for (resource, unit), limit in ((CPU, cores), (MEMORY, _limit(memory, filled))):
        limited = {**labels, "resource": resource, "unit": unit}
        _add(writer, "kube_pod_container_resource_limits", limited, times, np.full(len(times), limit))
    _add(writer, "kube_pod_info", {**labels, "node": node}, times, np.ones(len(times)))
    for column in COLUMNS:
        series = values[column.name] * column.factor
        if column.rate:
            series = np.cumsum(np.nan_to_num(series) * ROW_SECONDS)
        named: Mapping[str, str] = {"instance": node} if column.metric.startswith("instance:") else labels
        _add(writer, column.metric, {**named, **column.labels}, times, series)


def _limit(
    usage: np.ndarray[tuple[int], np.dtype[np.float64]], share: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> float:
    """The limit of which a usage is a share: the median, since both are averages over different windows."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = usage / share
    ratios = ratios[np.isfinite(ratios) & (ratios > 0)]
    return float(np.median(ratios)) if len(ratios) else 0.0


def _add_edges(writer: RecordingWriter, path: Path, reporter: str, start: float, until: float) -> None:
    header, rows = _rows(path)
    times = np.array([_time(row[0]) for row in rows])
    inside = (times >= start) & (times <= until)
    for i, edge in enumerate(header[2:], 2):
        client, _, server = edge.partition("_")
        labels = {"source_workload": client, "destination_workload": server, "reporter": reporter, "quantile": "0.5"}
        series = np.array([float(row[i] or "nan") for row in rows])
        _add(writer, "istio_request_duration_seconds", labels, times[inside], series[inside])


def _add(
    writer: RecordingWriter,
    metric: str,
    labels: Mapping[str, str],
    times: np.ndarray[tuple[int], np.dtype[np.float64]],
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> None:
    known = np.isfinite(values)
    number = writer.series(metric, labels_of(labels))
    millis = np.rint(times[known] * 1000).astype(np.int64)
    writer.add(np.full(int(known.sum()), number, np.int32), millis, values[known])


def _rows(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return header, rows


def _time(text: str) -> float:
    """Unix seconds of `2022-08-22 03:51:19.799087274 +0000 UTC m=+0.305`."""
    return datetime.fromisoformat(f"{text[:19]}+00:00").timestamp() + float(f"0.{text[20:].split()[0]}")


def _minute(path: Path, date: str) -> float:
    """Unix seconds of the end of the minute in a file's name, `HH_MM_trace.csv.gz`."""
    hour, minute = path.name.split("_")[:2]
    return (datetime.fromisoformat(f"{date}T{hour}:{minute}:00+00:00") + timedelta(minutes=1)).timestamp()


def truth(day: Day, fault: Fault | None, start: float, end: float, asked: str) -> Json:
    """The ground truth of a recording; see `foreshock_evaluation.incident_truth`."""
    return {
        "scenario": fault.kind if fault else "fault-free",
        "seed": 0,
        "start": start,
        "end": end,
        "onset": fault and fault.start,
        "fault_end": fault and fault.end,
        "root_cause": fault and fault.service,
        "cause": None,
        "kind": fault.kind if fault else "fault-free",
        "asked": asked,
        "noticed": None,
        "lookalike": False,
        "faults": [
            {"start": other.start, "end": other.end, "service": other.service}
            for other in day.faults
            if other != fault and start <= other.start <= end
        ],
        "topology": day.system(),
        "split": "dev",
    }


FRONT = {"ob": "frontend", "tt": "ts-gateway-service"}
"""The services that users reach first."""


def convert(day: Day, out: Path, progress: ProgressBar) -> None:
    """Write the recordings of a day that do not exist yet."""
    begin = min(_time(_rows(path)[1][0][0]) for path in day.pods)
    jobs: list[tuple[str, Fault | None, float, float]] = [
        (f"{_clock(fault.start)}-{fault.service}-{fault.kind}", fault, begin, fault.end + AFTER_SECONDS)
        for fault in day.faults
    ]
    quiet = max(fault.end for fault in day.faults) + QUIET_AFTER_SECONDS
    for number in range(MAX_QUIET):
        first = quiet + number * QUIET_SECONDS
        if first + QUIET_SECONDS <= day.end:
            jobs.append((f"{_clock(first)}-fault-free", None, first, first + QUIET_SECONDS))
    for number, (name, fault, start, end) in enumerate(jobs):
        progress(f"{day.date} {name}", number / len(jobs))
        for signals in SIGNALS:
            folder = out / day.system() / signals.name / name
            covered = fault is not None and day.has_spans(fault.start, fault.end)
            if folder.exists() or (signals.traces and not covered):
                continue
            folder.parent.mkdir(parents=True, exist_ok=True)
            meta = RecordingMeta(scenario=name, scrape_interval=SPAN_SCRAPE_SECONDS if signals.traces else ROW_SECONDS)
            with RecordingWriter(folder, meta) as writer:
                if signals.metrics:
                    add_metrics(writer, day, start, end)
                if signals.traces:
                    for batch in day.counted:
                        if batch.time <= end:
                            writer.add_batch(batch)
                    for spans in day.spans(fault.start - SPAN_HISTORY_SECONDS if fault else start, end):
                        writer.add_spans(spans)
                writer.add_ground_truth(truth(day, fault, start, end, FRONT[day.system()]))


def _clock(time: float) -> str:
    return datetime.fromtimestamp(time, tz=UTC).strftime("%H%M")


def days(source: Path) -> Sequence[Day]:
    """The days of a data set's folder."""
    return [Day(path.parent) for path in sorted(source.glob("rca_data/*/*-fault_list.json"))]


def main(argv: Iterable[str] | None = None) -> None:
    """Convert all days of a folder."""
    parser = argparse.ArgumentParser("python -m foreshock_lab.convert.nezha", description=__doc__)
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder with rca_data")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the recordings")
    arguments = parser.parse_args(None if argv is None else [*argv])
    bar = ProgressBar()
    for day in days(arguments.source):
        convert(day, arguments.out, bar)
    bar.end(f"recordings in {arguments.out}")


if __name__ == "__main__":
    main()
