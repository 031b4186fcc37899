"""What the code really emits, what the rules ask for, and real servers to bring the two together."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
import yaml
from tests.web.costs import LEDGER, PRICES
from tests.web.forecasts import EMBEDDER, FORECAST, RECENT
from tests.web.worlds import NOW

from foreshock_dashboard.analysis.cost.report import cost_report
from foreshock_dashboard.hub.analysis_loop import evaluation_durations
from foreshock_dashboard.hub.memory import MemoryUsage
from foreshock_dashboard.hub.self_metrics import metrics_text
from foreshock_dashboard.hub.status import HubStats
from foreshock_dashboard.ingest.span_metrics.span_metrics import SpanMetrics
from foreshock_dashboard.model.capacity.load import Subject
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.cost.report import LASTING_SECONDS
from foreshock_dashboard.model.forecast import Forecast, GpuWait, Imbalance, Load, RetryAmplification, Risk
from foreshock_dashboard.model.incident import Incident, Learning, Severity, Summary, SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.span import AttributeValue, Kind, Span
from foreshock_dashboard.sources.otlp.receiver import ReceiverStats
from foreshock_dashboard.store import JournalStats, Store
from foreshock_exporter.host import metrics as host_families
from foreshock_exporter.model import metrics as families
from foreshock_exporter.otlp import report as otlp_families

ROOT = Path(__file__).parents[2]

Yaml = dict[str, Any]
Series = Mapping[str, frozenset[str]]
"""The labels of each metric."""


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def tool() -> Callable[..., str]:
    """Run one of the servers' own tools; fail with what it says unless it exits with 0."""

    def run(name: str, *arguments: str | Path) -> str:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed; `make setup-tests` installs it")
        done = subprocess.run(
            [name, *map(str, arguments)], capture_output=True, text=True, timeout=600, check=False, cwd=ROOT
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def rules() -> list[Yaml]:
    """Every rule of alerts/, in order."""
    files = sorted((ROOT / "alerts").glob("*.rules.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


@pytest.fixture(scope="session")
def incident() -> Callable[..., Incident]:
    """Make an open incident."""

    def make(name: str, severity: Severity, service: str = "chat", aggressor: str = "batch") -> Incident:
        at = Service("assistant", service)
        return Incident(
            id=name, severity=severity, state="firing", cause="gpu_contention", service=at, affected=(at,),
            suspect=SuspectedCause(Service("ml", aggressor)), at_risk=(), candidates=(), since=NOW, opened=NOW,
            paged=None, resolved=None, evidence=(), confidence=1.0, quality="sampled", summary=Summary(),
        )  # fmt: skip

    return make


_CHAT, _BATCH = Service("assistant", "chat"), Service("ml", "batch")
_OUTLOOK = Forecast(
    risks=(Risk(_CHAT, 0.1, 60.0, 60.0, 90.0, 300.0, 300.0),),
    loads=(Load(_CHAT, "gold", 0.4, 0.7),),
    amplification=(RetryAmplification(_BATCH, _CHAT, 1.0),),
    imbalance=(Imbalance(_CHAT, 1.0),),
    gpu_wait=(GpuWait(_CHAT, _BATCH, "gold", 0.1),),
)
"""A figure of each kind, none of which is a reason for an alert."""
_MODEL: Mapping[str, AttributeValue] = {
    "gen_ai.request.model": "m", "gen_ai.operation.name": "chat",
    "gen_ai.latency.time_in_queue": 0.1, "gen_ai.latency.time_to_first_token": 0.2,
    "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 10,
}  # fmt: skip


_CAPACITY = replace(FORECAST, shortages=(*FORECAST.shortages, replace(RECENT, subject=Subject(EMBEDDER, ""), room=8.0)))
CHANGE = Change(NOW, "deployment", _CHAT, "h", "s", "1", "2", "canary", "api", "t", "https://ci.example", "ada")


@pytest.fixture(scope="session")
def hub_page(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Sequence[Incident]], str]:
    """The hub's own metrics, by the hub's own code, with these incidents open."""
    store = Store.open(tmp_path_factory.mktemp("store"), now=lambda: NOW)
    stats = store.stats()
    store.close()

    def text(incidents: Sequence[Incident]) -> str:
        return metrics_text(
            HubStats(
                version="0",
                time=NOW,
                snapshot=Snapshot(1, None, tuple(incidents), Learning(0.0, 1800.0), forecast=_OUTLOOK),
                evaluation_seconds=0.1,
                durations=evaluation_durations(),
                store=stats,
                journal=JournalStats(True, {"incident": 0}, 0, 0, "", ""),
                receiver=ReceiverStats(1, 1, {"malformed": 1}, {"busy": 1}, 0),
                scrapes=(),
                changes=(CHANGE,),
                capacity=_CAPACITY,
                cost=cost_report(LEDGER, LASTING_SECONDS, PRICES),
                memory=MemoryUsage(100 << 20, 300 << 20),
            )
        )

    return text


_POD = {"k8s.pod.uid": "7f3a", "k8s.pod.name": "pay-0", "k8s.namespace.name": "shop"}


def _span(kind: Kind, service: str, number: int, parent: int = 0) -> Span:
    return Span(
        trace_id=f"{1:032x}", span_id=f"{number:016x}", parent_id=f"{parent:016x}" if parent else "", name="GET",
        kind=kind, start_ns=round((NOW - 1) * 1e9), end_ns=round(NOW * 1e9), status="unset", status_message="",
        resource={"service.name": service, "service.namespace": "shop", "service.version": "1.4.2", **_POD},
        attributes={**_MODEL, "server.address": "pay.shop", "server.port": 80}, links=(),
    )  # fmt: skip


@pytest.fixture(scope="session")
def emitted(hub_page: Callable[[Sequence[Incident]], str], incident: Callable[..., Incident]) -> Series:
    """Every metric that exporter and hub really expose, with its labels: read from their pages."""
    exporter = subprocess.run(
        [Path(sys.executable).with_name("foreshock-exporter"), "--mock", "--once", "--sampling.period", "0.1"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert exporter.returncode == 0, exporter.stderr
    metrics = SpanMetrics()
    metrics.add([_span("client", "web", 1), _span("server", "pay", 2, 1)], NOW)
    found: dict[str, frozenset[str]] = {}
    for page in (exporter.stdout, metrics.text(NOW + 20), hub_page([incident("i", "page")])):
        for name, labels in re.findall(r"^([a-zA-Z_:]+)(?:\{(.*)\})? \S+$", page, re.MULTILINE):
            found[name] = found.get(name, frozenset()) | frozenset(re.findall(r'(\w+)="', labels))
    # What this host has none of, such as InfiniBand or an XID error, the exporter would name as its families say.
    for family in (*families.FAMILIES, *host_families.FAMILIES, *otlp_families.FAMILIES):
        found.setdefault(family.name, frozenset(family.labels))
    return found


class Asked(NamedTuple):
    """The series of a PromQL expression: metrics with the labels they are selected by, and labels grouped by."""

    selectors: tuple[tuple[str, frozenset[str]], ...]
    groups: frozenset[str]


_CLAUSE = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_WORDS = frozenset({"and", "or", "unless", "bool", "offset", "inf", "nan"})


def asked(expression: str) -> Asked:
    """Read an expression that promtool has accepted: no parser, only the shape of selectors and of label lists."""
    text = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    groups = {label.strip() for clause in _CLAUSE.findall(text) for label in clause.split(",")} - {""}
    text = re.sub(r"\[[^\]]*\]|\boffset\s+\w+", " ", _CLAUSE.sub(" ", text))
    found = [
        (name, frozenset(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers or "")))
        for name, matchers in re.findall(r"(?<![\w:])([a-zA-Z_:][\w:]*)(?!\s*\(|[\w:])\s*(?:\{([^}]*)\})?", text)
        if name.lower() not in _WORDS
    ]
    return Asked(tuple(found), frozenset(groups))


@pytest.fixture(scope="session")
def asks() -> Callable[[str], Asked]:
    """The series of an expression."""
    return asked


class Page(NamedTuple):
    """A loopback server. It answers GET with `body[0]` and keeps what is posted."""

    address: str
    body: list[str]
    posted: list[bytes]


@contextmanager
def _page() -> Iterator[Page]:
    body, posted = [""], cast("list[bytes]", [])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(body[0].encode())

        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(b"")

        def _answer(self, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield Page(f"127.0.0.1:{server.server_address[1]}", body, posted)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def page() -> Iterator[Callable[[], Page]]:
    """Start loopback servers."""
    with ExitStack() as opened:
        yield lambda: opened.enter_context(_page())


@contextmanager
def _server(command: Sequence[str | Path], ready: str) -> Iterator[str]:
    """A server's address, from its log, once it has said that it is ready; its log is drained until the end."""
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} is not installed; `make setup-tests` installs it")
    with subprocess.Popen([str(word) for word in command], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        drain = threading.Thread(target=process.stderr.read)
        try:
            address, seen = "", ""
            while not (address and ready in seen):
                line = process.stderr.readline()
                assert line, f"{command[0]} ended: {seen[-2000:]}"
                seen += line
                if found := re.search(r"Listening on\"? .*?address=(127\S+)", line):
                    address = found[1]
            drain.start()
            yield address
        finally:
            process.terminate()
            process.wait(30)
            if drain.ident is not None:
                drain.join()


@pytest.fixture
def server() -> Iterator[Callable[[Sequence[str | Path], str], str]]:
    """Start a real server with a command, wait for a line of its log, and get its address."""
    with ExitStack() as opened:
        yield lambda command, ready: opened.enter_context(_server(command, ready))
