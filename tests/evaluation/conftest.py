"""Handmade ground truths, incidents, and Worlds that tests modify."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from foreshock_dashboard.model.incident import AtRisk, Candidate, Incident, Summary, SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Edge, Gpu, Red, Tenant, World
from foreshock_evaluation.scores.protocol import Page
from foreshock_evaluation.scores.truth import Expected, SloTarget, Truth

STEP = 10.0
ENTRY, GATEWAY, MODEL = Service("product", "assistant"), Service("serving", "gateway"), Service("serving", "llm")
BATCH, OTHER = Service("ml", "batch"), Service("shop", "cart")
GPUS = (Gpu("host-1", "0", "GPU-a"), Gpu("host-1", "1", "GPU-b"))
START, ONSET, CASCADE = 10_000.0, 12_400.0, 12_700.0


class Stage:
    """Services, a ground truth, an incident, and builders of pages and Worlds."""

    step = STEP
    entry, gateway, model, batch, other = ENTRY, GATEWAY, MODEL, BATCH, OTHER
    gpus = GPUS
    start, onset, cascade = START, ONSET, CASCADE
    truth = Truth(
        scenario="noisy",
        seed=1,
        start=START,
        end=START + 4800.0,
        onset=ONSET,
        cause="gpu_contention",
        origin=MODEL,
        pool="chat",
        victims=(GATEWAY, ENTRY),
        breached={MODEL: ONSET + 200.0, GATEWAY: CASCADE, ENTRY: CASCADE + 60.0},
    )
    """Batch work slows the model; five minutes after the fault the gateway breaches its SLO."""
    calm = replace(truth, scenario="calm", onset=None, cause="", origin=None, pool="", victims=(), breached={})
    expected = Expected(
        cascade=True,
        root_causes=frozenset({BATCH}),
        gpus=frozenset({"host-1/gpu-0", "host-1/gpu-1"}),
    )
    slos: Mapping[Service, SloTarget] = {MODEL: SloTarget(1.0, 0.95)}
    incident = Incident(
        id="1-llm",
        severity="critical",
        state="firing",
        cause="gpu_contention",
        service=MODEL,
        suspect=SuspectedCause(BATCH, GPUS, "chat"),
        affected=(MODEL,),
        at_risk=(AtRisk(GATEWAY, 60.0, 90.0, 200.0, 30.0, 400.0),),
        candidates=(Candidate(BATCH, 0.7), Candidate(MODEL, 0.2), Candidate(ENTRY, 0.1)),
        since=ONSET,
        opened=ONSET + 30.0,
        paged=ONSET + 60.0,
        resolved=None,
        evidence=(),
        confidence=0.7,
        quality="measured",
        summary=Summary(),
    )

    @staticmethod
    def page(time: float, *services: Service) -> Page:
        """A page about services; by default about the model."""
        return Page(time, frozenset(services or {MODEL}))

    @staticmethod
    def world(points: int = 400, **changes: Any) -> World:  # noqa: ANN401 - fields of all types
        """Three services that call each other, and a separate one; the model and batch work share two GPUs.

        Each has one request per second and a p95 of half a second. `changes` replace fields. `p95`, `failed`, `rate`,
        and `busy` map services to functions of the grid index; `used` maps GPUs.
        """
        services = tuple(sorted((ENTRY, GATEWAY, MODEL, BATCH, OTHER)))
        tenants = tuple(Tenant(gpu, service) for gpu in GPUS for service in (BATCH, MODEL))
        p95 = _rows(services, points, changes.pop("p95", {}), 0.5)
        rate = _rows(services, points, changes.pop("rate", {}), 1.0)
        failed = _rows(services, points, changes.pop("failed", {}), 0.0)
        busy = _rows([tenant.service for tenant in tenants], points, changes.pop("busy", {}), 0.2)
        used = _rows(GPUS, points, changes.pop("used", {}), 0.4)
        missing = np.full((len(GPUS), points), np.nan)
        world = World(
            times=START + STEP * np.arange(points, dtype=np.float64),
            step=STEP,
            services=services,
            red=Red(rate, failed, p95 / 2, p95, p95 * 2),
            edges=(Edge(ENTRY, GATEWAY), Edge(GATEWAY, MODEL)),
            calls=Red.empty(2, points),
            server_p95=np.full((2, points), np.nan),
            attempts=np.ones((2, points)),
            gpus=GPUS,
            utilization=used,
            contended=missing,
            memory_used=np.full((len(GPUS), points), 40e9),
            memory_total=np.full((len(GPUS), points), 80e9),
            power=missing,
            temperature=missing,
            tenants=tenants,
            busy=busy,
            gpu_wait=np.zeros((len(tenants), points)),
            memory=np.full((len(tenants), points), 1e9),
            gpu_wait_pairs=(),
            gpu_wait_by=np.empty((0, points)),
            operations=(),
            operation_red=Red.empty(0, points),
        )
        return replace(world, **changes)


def _rows(keys: Sequence[Any], points: int, values: Mapping[Any, Callable[[int], float]], default: float) -> Floats:
    return np.array([[values[key](i) if key in values else default for i in range(points)] for key in keys])


@pytest.fixture(name="stage")
def _stage() -> type[Stage]:
    return Stage
