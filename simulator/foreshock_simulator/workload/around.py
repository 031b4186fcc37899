"""What a tenant needs of the world around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final, Generic, TypeVar

from foreshock_simulator.core.engine import Engine, Process, Signal
from foreshock_simulator.hardware.work import GpuWork
from foreshock_simulator.hardware.worker import Worker
from foreshock_simulator.spec.services import Call, TenantSpec

Attributes = Mapping[str, "str | int | float | bool"]
T = TypeVar("T")

TENSOR: Final = 0.5
"""Share of the tensor cores' peak while a tenant's kernels hold all SMs; an assumption."""
DISPATCHES: Final = 200.0
"""Dispatches a second that a tenant waits for; an assumption."""


@dataclass(frozen=True, slots=True)
class Around(Generic[T]):
    """The world around a tenant; T is whatever a trace is there.

    Args:
        engine: whose time it lives in.
        rng: its chance, its own.
        begin: start a trace at a process of the tenant.
        call: make a call as part of a trace; ends without raising, whatever becomes of the call.
        record: end the trace with a span: its name, when it began (s), its attributes.
        bulk: move bytes from a host to another; fires when they have arrived.
    """

    engine: Engine
    rng: Random
    begin: Callable[[Worker], T]
    call: Callable[[T, Call], Process]
    record: Callable[[T, str, float, Attributes], None]
    bulk: Callable[[str, str, float], Signal]


def compute(tenant: TenantSpec, rng: Random, spread: float) -> GpuWork:
    """One piece of a tenant's work, up to a ratio of `spread` longer or shorter than usual."""
    seconds = tenant.work * (1.0 + spread * (2.0 * rng.random() - 1.0))
    return GpuWork(seconds, tenant.sm, tenant.dram, TENSOR * tenant.sm, kernels=DISPATCHES)
