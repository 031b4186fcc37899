"""Hand-built Worlds, snapshots, and a hub to look at them: healthy, contended, learning, empty, broken, hostile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.cost.ledger import CostLedger
from foreshock_dashboard.model.cost.prices import NO_PRICES, Prices
from foreshock_dashboard.model.explanation import Explanation
from foreshock_dashboard.model.forecast import Forecast, Load, ServiceSlo
from foreshock_dashboard.model.incident import (
    Candidate,
    Evidence,
    Incident,
    Learning,
    Severity,
    State,
    Summary,
    SuspectedCause,
    Symptom,
)
from foreshock_dashboard.model.journal import EntryLog
from foreshock_dashboard.model.query import Matrix, MetricSource, Query, SourceError
from foreshock_dashboard.model.service import Ownership, Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.span import Event, Span, TraceQuery, TraceSummary
from foreshock_dashboard.model.types import Floats, Json
from foreshock_dashboard.model.world import Edge, Gpu, GpuWaitPair, Operation, Red, Target, Tenant, World, slice_world
from foreshock_dashboard.store import Journal
from foreshock_dashboard.web.charts.chart import Look
from foreshock_dashboard.web.charts.theme import LIGHT
from foreshock_dashboard.web.shell.shell import Page
from foreshock_dashboard.web.state.parameters import View

NOW = 1_764_064_800.0
STEP = 10.0
POINTS = 91
LEARNED = Learning(1800.0, 1800.0)
HOSTILE = "<img src=x onerror=alert(1)>"

_CALLS = (
    ("user", "gateway", "virtual_node"),
    ("gateway", "auth", ""),
    ("gateway", "rag-api", ""),
    ("gateway", "chat-api", ""),
    ("gateway", "summarize", ""),
    ("rag-api", "embedder", ""),
    ("rag-api", "vector-store", ""),
    ("rag-api", "vllm-70b", ""),
    ("chat-api", "vllm-70b", ""),
    ("chat-api", "reranker", ""),
    ("chat-api", "vllm-8b", ""),
    ("summarize", "vllm-8b", ""),
    ("vector-store", "postgres", "database"),
)
_ON_GPUS = {
    "embedder": (0, 1, 2, 3),
    "reranker": (4, 5),
    "vllm-70b": (8, 9, 10, 11, 12, 13, 14, 15),
    "vllm-8b": (16, 17, 18, 19),
    "train-llm": (0, 1, 20, 21, 22, 23, 24, 25, 26, 27),
    "batch-eval": (4, 5, 28, 29),
}


def service(name: str) -> Service:
    """A service without a namespace."""
    return Service("", name)


def _waves(rows: int, level: Sequence[float], seed: int) -> Floats:
    noise = np.random.default_rng(seed).normal(1.0, 0.05, (rows, POINTS))
    return np.asarray(level, dtype=np.float64)[:, None] * noise


def _red(rates: Sequence[float], seconds: Sequence[float], failed: float = 0.002) -> Red:
    n = len(rates)
    p50 = _waves(n, seconds, 2)
    idle = np.asarray(rates)[:, None] == 0
    blank = np.where(idle, np.nan, 1.0)
    return Red(
        _waves(n, rates, 1),
        np.full((n, POINTS), failed) * blank,
        p50 * blank,
        p50 * 2.1 * blank,
        p50 * 3.4 * blank,
        p50 * 2.0 * blank,
    )


def healthy_world(rename: dict[str, str] | None = None, hosts: int = 4) -> World:
    """A dozen services on `hosts` × 8 GPUs of which some are shared, and no service waits long."""
    name = {**{n: n for call in _CALLS for n in call[:2]}, **{n: n for n in _ON_GPUS}, **(rename or {})}
    edges = tuple(Edge(service(name[c]), service(name[s]), kind) for c, s, kind in _CALLS)
    names = sorted(
        {name[n] for call in _CALLS for n in call[:2] if n not in ("user", "postgres")} | {name[n] for n in _ON_GPUS}
    )
    services = tuple(service(n) for n in names)
    batch = {name["train-llm"], name["batch-eval"]}
    gpus = tuple(Gpu(f"host-{h}", str(i), f"GPU-{h}-{i}", "H100") for h in range(hosts) for i in range(8))
    tenants = tuple(Tenant(gpus[g], service(name[n])) for n, on in _ON_GPUS.items() for g in on if g < len(gpus))
    pairs = tuple(
        GpuWaitPair(one.gpu, one.service, two.service)
        for one in tenants
        for two in tenants
        if one.gpu == two.gpu and one.service != two.service
    )
    rates = [0.0 if n in batch else 6.0 + 4 * (i % 5) for i, n in enumerate(names)]
    load = [0.35 + 0.05 * (i % 7) for i in range(len(gpus))]
    return World(
        times=NOW - STEP * np.arange(POINTS - 1, -1, -1.0),
        step=STEP,
        services=services,
        red=_red(rates, [(0.02, 0.05, 0.08, 0.05)[i % 4] for i in range(len(services))]),
        edges=edges,
        calls=_red([5.0 + i for i in range(len(edges))], [0.03] * len(edges)),
        server_p95=_waves(len(edges), [0.06] * len(edges), 3),
        attempts=np.full((len(edges), POINTS), 1.0),
        gpus=gpus,
        utilization=np.clip(_waves(len(gpus), load, 4), 0, 1),
        contended=np.full((len(gpus), POINTS), 0.0),
        memory_used=_waves(len(gpus), [5e10] * len(gpus), 5),
        memory_total=np.full((len(gpus), POINTS), 8e10),
        power=_waves(len(gpus), [400.0] * len(gpus), 6),
        temperature=_waves(len(gpus), [55.0] * len(gpus), 7),
        tenants=tenants,
        busy=np.clip(_waves(len(tenants), [0.3] * len(tenants), 8), 0, 1),
        gpu_wait=np.full((len(tenants), POINTS), 0.02),
        memory=_waves(len(tenants), [2e10] * len(tenants), 9),
        gpu_wait_pairs=pairs,
        gpu_wait_by=np.full((len(pairs), POINTS), 0.01),
        operations=(Operation(service("embedder"), "POST /embed"),),
        operation_red=_red([12.0], [0.03]),
        targets=tuple(Target(f"host-{h}:10877", "foreshock", True, 4.0) for h in range(hosts)),
        simulated=True,
    )


def contended(rename: dict[str, str] | None = None) -> World:
    """The same, while train-llm takes what embedder needs on two GPUs; the last 20 points (200 s) show it."""
    world = healthy_world(rename)
    train, victim = (service((rename or {}).get(n, n)) for n in ("train-llm", "embedder"))
    red, gpu_wait_by, busy = world.red, world.gpu_wait_by.copy(), world.busy.copy()
    use, contended_ratio, attempts = world.utilization.copy(), world.contended.copy(), world.attempts.copy()
    assert red.lower_bound is not None
    p50, p95, p99, least = red.p50.copy(), red.p95.copy(), red.p99.copy(), red.lower_bound.copy()
    failed = red.error_rate.copy()
    late = slice(POINTS - 20, None)
    rise = np.linspace(1.5, 4.04, 20)
    for who, factor in ((victim, 1.0), (service((rename or {}).get("rag-api", "rag-api")), 0.5)):
        row = world.services.index(who)
        for values in (p50, p95, p99, least):
            values[row, late] *= 1 + (rise - 1) * factor
    failed[world.services.index(victim), late] = 0.034
    for i, pair in enumerate(world.gpu_wait_pairs):
        if (pair.affected, pair.noisy_neighbor) == (victim, train):
            gpu_wait_by[i, late] = np.linspace(0.1, 0.46, 20)
    for i, tenant in enumerate(world.tenants):
        if tenant.service == train:
            busy[i, late] = 0.72
    for g in (0, 1):
        use[g, late], contended_ratio[g, late] = 0.99, 0.83
    attempts[[e.server == victim for e in world.edges], late] = 1.31
    return replace(
        world,
        red=replace(red, p50=p50, p95=p95, p99=p99, lower_bound=least, error_rate=failed),
        gpu_wait_by=gpu_wait_by,
        busy=busy,
        utilization=use,
        contended=contended_ratio,
        attempts=attempts,
    )


GPU_TIME = ("utilization", "contended", "busy", "gpu_wait", "gpu_wait_by")
GPU_STATE = ("memory_used", "memory_total", "power", "temperature", "memory")
REQUESTS = ("red", "calls", "server_p95", "attempts")


def without(
    world: World, names: Sequence[str], points: int = 30, rows: Mapping[str, Sequence[int]] | None = None
) -> World:
    """The World whose arrays of these names hold nothing at the last points; `rows` of them only, where it says so."""

    def cut(values: Floats, name: str) -> Floats:
        values = values.copy()
        which = list(range(len(values))) if rows is None else list(rows[name])
        values[which, len(world.times) - points :] = np.nan
        return values

    def gone(name: str) -> Floats | Red:
        found: Floats | Red = getattr(world, name)
        if isinstance(found, Red):
            return Red(
                *(
                    cut(getattr(found, part), name)
                    for part in ("rate", "error_rate", "p50", "p95", "p99", "lower_bound")
                )
            )
        return cut(found, name)

    changes: dict[str, Any] = {name: gone(name) for name in names}
    return replace(world, **changes)


def dark() -> World:
    """No data for 300 s; the last that targets said was that they are up."""
    targets = tuple(target._replace(age=300.0) for target in healthy_world().targets)
    return replace(without(healthy_world(), GPU_TIME + GPU_STATE + REQUESTS), targets=targets)


def dim() -> World:
    """No data from host 3 for 300 s, nor from the service auth."""
    world = healthy_world()
    lost = [i for i, gpu in enumerate(world.gpus) if gpu.host == "host-3"]
    on = [i for i, tenant in enumerate(world.tenants) if tenant.gpu.host == "host-3"]
    rows = dict.fromkeys(("utilization", "contended"), lost) | dict.fromkeys(("busy", "gpu_wait"), on)
    world = without(world, tuple(rows), rows=rows)
    world = without(world, ("red",), rows={"red": [world.services.index(service("auth"))]})
    targets = tuple(t._replace(age=300.0) if t.instance.startswith("host-3") else t for t in world.targets)
    return replace(world, targets=targets)


def bare() -> World:
    """A World in which nothing is known yet."""
    none = np.empty((0, POINTS))
    return World(
        times=NOW - STEP * np.arange(POINTS - 1, -1, -1.0),
        step=STEP,
        services=(),
        red=Red.empty(0, POINTS),
        edges=(),
        calls=Red.empty(0, POINTS),
        server_p95=none,
        attempts=none,
        gpus=(),
        utilization=none,
        contended=none,
        memory_used=none,
        memory_total=none,
        power=none,
        temperature=none,
        tenants=(),
        busy=none,
        gpu_wait=none,
        memory=none,
        gpu_wait_pairs=(),
        gpu_wait_by=none,
        operations=(),
        operation_red=Red.empty(0, POINTS),
        missing=("gpu_info",),
    )


def contention_incident(
    world: World,
    victim: str = "embedder",
    aggressor: str = "train-llm",
    severity: Severity = "critical",
    state: State = "firing",
) -> Incident:
    """The incident that the analysis would open for `contended`."""
    since = NOW - 190
    return Incident(
        id=f"20251125T095730Z-{victim}",
        severity=severity,
        state=state,
        cause="gpu_contention",
        service=service(victim),
        suspect=SuspectedCause(service(aggressor), world.gpus[:2]),
        affected=(service(victim),),
        at_risk=(),
        candidates=(Candidate(service(aggressor), 0.93),),
        since=since,
        opened=since + 40,
        paged=since + 40,
        resolved=NOW - 60 if state == "resolved" else None,
        evidence=(
            Evidence("p95 of the victim", 0.412, 0.105, "s", since),
            Evidence("GPU time the victim waits", 0.46, 0.01, "ratio", since),
            Evidence("GPU time the aggressor takes", 0.72, 0.3, "ratio", since),
            Evidence("failed requests of the victim", 0.034, 0.0, "ratio", since),
        ),
        confidence=0.93,
        quality="sampled",
        actions=(Action("move_off_gpus", service(aggressor), gpus=world.gpus[:2]),),
        summary=Summary(Symptom("p95", 0.412, 0.105)),
    )


def snapshot(
    world: World | None, *incidents: Incident, seq: int = 7, error: str = "", learning: Learning = LEARNED
) -> Snapshot:
    """An evaluation without a forecast."""
    return Snapshot(seq, world, incidents, learning, error)


def judged(found: Snapshot) -> Snapshot:
    """The same with learned SLOs of all services that have requests, and a load: nothing is in breach or overloaded."""
    serving = (who for who in found.services if str(who) not in ("train-llm", "batch-eval"))
    slos = tuple(ServiceSlo(who, 0.5, 0.05, learned=True) for who in serving)
    return replace(found, forecast=Forecast(slos=slos, loads=(Load(service("vllm-70b"), "", 0.55, 0.75),)))


SCENES = {
    "healthy": lambda: judged(snapshot(healthy_world())),
    "contended": lambda: judged(snapshot(w := contended(), contention_incident(w))),
    "learning": lambda: snapshot(healthy_world(), learning=Learning(720.0, 1800.0)),
    "preview": lambda: replace(snapshot(healthy_world(), learning=Learning(0.0, 1800.0)), is_preview=True),
    "blind": lambda: snapshot(dark()),
    "half-blind": lambda: snapshot(dim()),
    "empty": lambda: snapshot(bare(), learning=Learning(0.0, 1800.0)),
    "error": lambda: snapshot(None, error="prometheus http://127.0.0.1:9090 refuses connections: start it"),
    "stale": lambda: snapshot(healthy_world(), error="prometheus http://127.0.0.1:9090 refuses connections: start it"),
    "hostile": lambda: snapshot(
        w := contended({"train-llm": HOSTILE, "embedder": '"><script>alert(2)</script>'}),
        contention_incident(w, '"><script>alert(2)</script>', HOSTILE),
    ),
}
"""What the pages are looked at in, by name; each gives a new snapshot."""


def span(name: str, who: str, number: int, parent: int, start: float, length: float, **more: object) -> Span:
    """A span of trace 1; times in seconds after `NOW` - 60."""
    begin = round((NOW - 60 + start) * 1e9)
    error = bool(more.pop("error", False))
    return Span(
        trace_id=f"{1:032x}",
        span_id=f"{number:016x}",
        parent_id=f"{parent:016x}" if parent else "",
        name=name,
        kind="server" if number % 2 else "client",
        start_ns=begin,
        end_ns=begin + round(length * 1e9),
        status="error" if error else "unset",
        status_message="deadline exceeded" if error else "",
        resource={"service.name": who, "host.name": "host-0"},
        attributes={"http.request.method": "POST", **more},  # type: ignore[dict-item]  # tests pass JSON values
        events=(Event(begin + 1000, "exception", {"exception.type": "Timeout"}),) if error else (),
    )


def request() -> tuple[Span, ...]:
    """One trace: a question to a gateway, of which most time is spent in the embedder."""
    return (
        span("POST /ask", "gateway", 1, 0, 0.0, 1.0),
        span("check token", "auth", 3, 1, 0.01, 0.02),
        span("answer", "rag-api", 5, 1, 0.04, 0.95),
        span("embed", "embedder", 7, 5, 0.05, 0.43, error=True),
        span("embed", "embedder", 9, 5, 0.5, 0.2, **{"retry.count": 1}),
        span("search", "vector-store", 11, 5, 0.71, 0.06, **{"db.statement": HOSTILE}),
        span("generate", "vllm-70b", 13, 5, 0.78, 0.2),
    )


@dataclass
class FakeTraces:
    """A trace source over `request` and a list of summaries made from a number."""

    count: int = 40
    error: str = ""
    asked: list[TraceQuery] = field(default_factory=list)

    def search(self, query: TraceQuery) -> tuple[TraceSummary, ...]:
        """Those that match service, duration and errors, in the requested order."""
        self.asked.append(query)
        if self.error:
            raise SourceError(self.error)
        rows = [self._row(i) for i in range(self.count)]
        rows = [
            row
            for row in rows
            if (query.service is None or query.service in row.services)
            and (query.min_duration is None or row.duration >= query.min_duration)
            and (query.status != "error" or row.errors)
        ]
        rows.sort(key=(lambda row: -row.duration) if query.order == "slowest" else (lambda row: -row.start))
        return tuple(rows[: query.limit])

    def _row(self, i: int) -> TraceSummary:
        duration = 0.08 + 0.9 * ((i * 7919) % 101) / 101
        names = ("gateway", "rag-api", "embedder") if i % 2 else ("gateway", "chat-api", "vllm-8b")
        return TraceSummary(
            f"{i + 1:032x}", service("gateway"), "POST /ask" if i % 2 else "POST /chat", NOW - 60 - i * 17, duration,
            7, int(i % 9 == 0), tuple(map(service, names)), True,
        )  # fmt: skip

    def get(self, trace_id: str) -> tuple[Span, ...]:
        """The one trace there is."""
        if self.error:
            raise SourceError(self.error)
        return request() if trace_id == f"{1:032x}" else ()


class NoMetrics(MetricSource):
    """A metric source without samples."""

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """Nothing, whatever the query."""
        del query
        return Matrix.empty(np.arange(start, end, step))

    def metric_names(self) -> frozenset[str]:
        """None."""
        return frozenset()


@dataclass
class FakeHub:
    """A hub whose snapshot is set by the test."""

    snapshot: Snapshot
    traces: FakeTraces = field(default_factory=FakeTraces)
    remote_traces: str = ""
    metrics: MetricSource = field(default_factory=NoMetrics)
    journal: EntryLog = field(default_factory=lambda: Journal(None, now=lambda: NOW))
    time: float = NOW + 3
    not_ready: str = ""
    unmatched: tuple[Json, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    silenced: Mapping[str, float | None] = field(default_factory=dict)
    owners: dict[Service, Ownership] = field(default_factory=dict)
    capacity: CapacityForecast = field(default_factory=CapacityForecast)
    cost: CostLedger = field(default_factory=CostLedger)
    prices: Prices = NO_PRICES

    def silenced_until(self) -> Mapping[str, float | None]:
        """What the test gives."""
        return self.silenced

    def at(self, time: float) -> Snapshot:
        """The same, with nothing of what came later."""
        world = self.snapshot.world
        if world is None or time >= world.time:
            return self.snapshot
        if time < world.times[0]:
            raise SourceError(f"nothing is known of {time:.0f}")
        result = tuple(item for item in self.snapshot.incidents if item.opened <= time)
        return replace(self.snapshot, seq=round(time), world=slice_world(world, world.times[0], time), incidents=result)

    def over(self, start: float, end: float) -> World | None:
        """What there is of a stretch of time."""
        world = self.snapshot.world
        if world is None and self.snapshot.error:
            raise SourceError(f"Cannot read the source: {self.snapshot.error}")
        return None if world is None or end < world.times[0] else slice_world(world, start, end)

    def now(self) -> float:
        """A clock that the test sets."""
        return self.time

    def status(self) -> Json:
        """Two counters, and the names that the test gives without effect."""
        return {"store": {"spans": 12}, "receiver": {"dropped": 0}, "unmatched": list(self.unmatched)}

    @property
    def cluster(self) -> str:
        """All clusters."""
        return ""

    def explain(self, service: str | None, at: float, cluster: str = "") -> Explanation:
        """The candidates that the test gives, of whichever service and time."""
        return Explanation(Service.parse(service) if service else None, at, self.in_cluster(cluster))

    def in_cluster(self, cluster: str) -> tuple[Candidate, ...]:
        """The candidates of a cluster; all for ""."""
        return tuple(item for item in self.candidates if cluster in ("", item.service.cluster))

    def ownership(self, service: Service) -> Ownership:
        """Those that the test sets."""
        return self.owners.get(service, Ownership())

    def ready(self) -> tuple[bool, str]:
        """Ready unless the test says why not."""
        return not self.not_ready, self.not_ready

    def metrics_text(self, *, openmetrics: bool = False) -> str:
        """One metric."""
        del openmetrics
        return "foreshock_ticks_total 7\n"


def draw(page: Page, chart: str, seen: Snapshot, **parameters: str) -> Json:
    """The figure of a chart of a page over the last fifteen minutes. parameters: of the page's address."""
    found = next(one for one in page.charts if one.id == chart)
    return found.draw(FakeHub(seen), View(NOW - 900, NOW, True, parameters), Look(LIGHT))
