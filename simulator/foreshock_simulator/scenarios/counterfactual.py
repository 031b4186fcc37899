"""The same scenario without its culprit."""

from __future__ import annotations

from dataclasses import replace

from foreshock_simulator.spec.queries import subjects
from foreshock_simulator.spec.scenario import ScenarioSpec


def without(spec: ScenarioSpec, culprit: str) -> ScenarioSpec:
    """The scenario without what it does to or through `culprit`; if that is a tenant, without the tenant as well.

    Raises:
        ValueError: no fault is about it.
    """
    faults = tuple(fault for fault in spec.faults if culprit not in subjects(fault))
    if len(faults) == len(spec.faults):
        known = ", ".join(dict.fromkeys(name for fault in spec.faults for name in subjects(fault)))
        raise ValueError(f"nothing in {spec.name!r} is about {culprit!r}; its faults are about {known or 'nothing'}")
    # What else happens to a tenant goes with it, so no fault is left that names it.
    tenants = tuple(tenant for tenant in spec.platform.tenants if tenant.name.name != culprit)
    return replace(spec, platform=replace(spec.platform, tenants=tenants), faults=faults)


def counterfactual(spec: ScenarioSpec) -> ScenarioSpec:
    """The scenario without the culprit that it expects; its cascade does not happen then.

    Raises:
        ValueError: it has none.
    """
    return without(spec, spec.expects.culprit)
