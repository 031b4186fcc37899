"""Flow of suspicion through a service graph: its work."""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.analysis.root_cause.deviation import AnalysisWindow, deviations
from foreshock_dashboard.analysis.root_cause.excess_flow import ExcessFlow
from foreshock_dashboard.analysis.root_cause.service_evidence import Deviation, ServiceEvidence, SignalGraph
from foreshock_dashboard.analysis.root_cause.signal_rows import Entity, SignalRow
from foreshock_dashboard.model.explanation import SignalKind
from foreshock_dashboard.model.service import Service

POINTS, FIRST, STEP = 80, 60, 10.0
WEB, STORE = Service("", "web"), Service("", "store")


class CountedEvidence(ServiceEvidence):
    """Evidence that counts how often it is read."""

    reads = 0

    def of(self, entity: Entity, kind: SignalKind, side: str = "") -> tuple[Deviation, ...]:
        """As without the count."""
        self.reads += 1
        return super().of(entity, kind, side)


def reads(callers: int) -> int:
    """How often evidence is read where a service calls this many, which all call a store that fails and is slow."""
    between = [Service("", f"caller-{i}") for i in range(callers)]
    calls: list[Entity] = [call for caller in between for call in ((WEB, caller), (caller, STORE))]
    times, rng = STEP * np.arange(POINTS, dtype=np.float64), np.random.default_rng(1)
    fault, requests = np.where(np.arange(POINTS) >= FIRST, 1.0, 0.0), np.full(POINTS, 1000.0)
    rows = []
    for entity in (WEB, STORE, *between, *calls):
        side = "" if isinstance(entity, Service) else "client"
        seconds = rng.lognormal(-2, 0.05, POINTS) * (1 + 4 * fault)
        errors = 0.01 * rng.random(POINTS) + (0.0 if entity == STORE else 0.4 * fault)
        rows += [
            SignalRow(entity, "traffic", "requests", requests * (1 - 0.5 * fault), "", requests, side),
            SignalRow(entity, "latency", "seconds", seconds, "p95", requests, side),
            SignalRow(entity, "errors", "errors", errors, "", requests, side),
        ]
    graph = SignalGraph(deviations(rows, AnalysisWindow(times, FIRST - 4, FIRST - 2, float(times[FIRST]))))
    evidence = CountedEvidence(graph, graph.anomalous_columns(WEB))
    absorbed = ExcessFlow(evidence).absorbed({WEB: 1.0})
    assert absorbed[STORE] > 0
    return evidence.reads


def test_the_work_grows_as_the_graph_does() -> None:
    """What a store shows depends on all its callers, and is needed for each of them."""
    assert reads(80) < 5 * reads(20)
