"""NVML behavior of a GPU generation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Dialect:
    """NVML behavior of a GPU generation and its driver.

    `codes` are return codes by function, `delays` seconds by function. `nvlink`: counters are fields 138 and 139 in KiB
    (Volta to Hopper), or 202 and 204 in bytes (Blackwell); `all_links`: totals over all links exist. `pcie_bits`: width
    at which fields 197 and 198 wrap. `gpm_codes` are return codes by GPM metric, `gpm_max` the lowest id that makes the
    call fail.
    """

    codes: Mapping[str, int] = field(default_factory=dict)
    delays: Mapping[str, float] = field(default_factory=dict)
    no_fields: frozenset[int] = frozenset()
    nvlink: Literal["kib", "bytes"] = "kib"
    all_links: bool = True
    pcie_bits: Literal[32, 64] = 64
    gpm: bool = True
    gpm_codes: Mapping[int, int] = field(default_factory=dict)
    gpm_max: int | None = None
    quirks: int = 0
