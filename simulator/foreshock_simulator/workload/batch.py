"""Batch work: process after process of the tenant works through its units, each by itself."""

from __future__ import annotations

from typing import Final, TypeVar

from foreshock_simulator.core.engine import Process
from foreshock_simulator.hardware.worker import Worker
from foreshock_simulator.spec.services import TenantSpec
from foreshock_simulator.workload.around import Around, compute

T = TypeVar("T")
_SPREAD: Final = 0.15


def batch(tenant: TenantSpec, worker: Worker, around: Around[T]) -> Process:
    """Work until the process ends: a unit is `tenant.unit` computations with pauses between.

    All calls but the last come before (claim the work, fetch its data), the last one after (write the results).
    """
    engine, rng = around.engine, around.rng
    yield rng.random() * (tenant.work + tenant.pause)
    while not worker.stopped:
        trace, began = around.begin(worker), engine.now
        for call in tenant.calls[:-1]:
            yield from around.call(trace, call)
        for _ in range(tenant.unit):
            if not (yield worker.run(compute(tenant, rng, _SPREAD))):
                return
            yield tenant.pause * (0.5 + rng.random())
        for call in tenant.calls[-1:]:
            yield from around.call(trace, call)
        around.record(trace, "process unit", began, {"app.batches": tenant.unit})
