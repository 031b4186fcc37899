"""The environment of a tenant: its clock, random numbers, traces, calls and network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final, Generic, TypeVar

from foreshock_simulator.core.engine import Engine, Process, Signal
from foreshock_simulator.hardware.worker import GpuWork, Worker
from foreshock_simulator.spec.services import Call, TenantSpec

Attributes = Mapping[str, "str | int | float | bool"]
T = TypeVar("T")

TENSOR_RATIO: Final = 0.5
"""Share of the tensor cores' peak while the kernels hold all SMs; an assumption."""
DISPATCHES_PER_SECOND: Final = 200.0
"""Blocking dispatches per second of a tenant; an assumption."""


@dataclass(frozen=True, slots=True)
class Environment(Generic[T]):
    """The environment of a tenant; T is the type of its traces.

    Args:
        engine: the clock.
        rng: the tenant's own random numbers.
        begin: start a trace at a process of the tenant.
        call: make a call in a trace; a failed call raises nothing.
        record: end a trace with a span, given its name, its start in seconds, and its attributes.
        transfer: move bytes between two hosts; fires when they have arrived.
    """

    engine: Engine
    rng: Random
    begin: Callable[[Worker], T]
    call: Callable[[T, Call], Process]
    record: Callable[[T, str, float, Attributes], None]
    transfer: Callable[[str, str, float], Signal]


def compute(tenant: TenantSpec, rng: Random, jitter: float) -> GpuWork:
    """One computation of a tenant, with a uniform variation of its duration by up to the ratio `jitter`."""
    seconds = tenant.work * (1.0 + jitter * (2.0 * rng.random() - 1.0))
    return GpuWork(seconds, tenant.sm, tenant.dram, TENSOR_RATIO * tenant.sm, kernels=DISPATCHES_PER_SECOND)
