"""The state of a GPU in sentences: its hardware, its SMs, and services with CPUs far from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from foreshock_dashboard.render.clause import filled_text
from foreshock_dashboard.render.units import counted, percent
from foreshock_dashboard.render.words.gpus import HARDWARE_TEXTS
from foreshock_dashboard.render.words.panels import MPS_TEXTS


class HardwareErrors(NamedTuple):
    """Errors of a GPU. xids: number and name of those of the hardware. uncorrectable: ECC errors.

    links: NVLinks; links_down: those of them that are down. other: errors in the last `minutes`, also of services.
    """

    lost: bool = False
    xids: Sequence[tuple[int, str]] = ()
    uncorrectable: float = 0.0
    remap_failed: bool = False
    remap_pending: bool = False
    links: float = 0.0
    links_down: float = 0.0
    other: float = 0.0
    minutes: float = 0.0


def hardware_faults(errors: HardwareErrors) -> list[str]:
    """The faults of a GPU, the gravest first; other errors where there is no fault."""
    remapping = "remap_failed" if errors.remap_failed else "remap_pending" if errors.remap_pending else ""
    faults = [HARDWARE_TEXTS["lost"]] if errors.lost else []
    faults += [f"XID {number} ({name})" for number, name in errors.xids]
    faults += [counted(errors.uncorrectable, "uncorrectable ECC error")] if errors.uncorrectable > 0 else []
    faults += [HARDWARE_TEXTS[remapping]] if remapping else []
    faults += [f"{errors.links_down:.0f} of {errors.links:.0f} NVLinks down"] if errors.links_down > 0 else []
    if not faults and errors.other > 0:
        return [f"{counted(errors.other, 'error')} in {errors.minutes:.0f} min"]
    return faults


def hardware_sentence(faults: Sequence[str], throttled: float = math.nan, *, is_known: bool = True) -> str:
    """The hardware in words. throttled: share of time, NaN for none to state. is_known: whether anything is."""
    said = [filled_text(HARDWARE_TEXTS["fault"], faults="; ".join(faults))] if faults else []
    if math.isfinite(throttled):
        said.append(filled_text(HARDWARE_TEXTS["throttled"], share=percent(throttled)))
    return " ".join(said) or HARDWARE_TEXTS["healthy" if is_known else "unknown"]


def far_cpus_sentence(service: str, gpu: str, local: float, limit: float, other_gpus: int) -> str:
    """A service whose CPUs are on another NUMA node than its GPU, and the remedy. local, limit: shares of its CPUs."""
    more = f", as on {counted(other_gpus, 'other GPU')}" if other_gpus else ""
    shares = {"share": percent(local), "limit": percent(limit)}
    said = filled_text(HARDWARE_TEXTS["far_cpus"], service=service, gpu=gpu, more=more, **shares)
    return f"{said} {MPS_TEXTS['pin']}"
