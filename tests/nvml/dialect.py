"""How a generation of GPUs says things over NVML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a generation of GPUs and its driver says things, and what it does not say.

    `codes` are return codes by function, `delays` seconds by function. `nvlink`: the counters are fields 138 and 139
    in KiB (Volta to Hopper), or 202 and 204 in bytes (Blackwell); `all_links`: they have a sum over all links.
    `pcie_bits`: the width at which fields 197 and 198 wrap.
    """

    codes: Mapping[str, int] = field(default_factory=dict)
    delays: Mapping[str, float] = field(default_factory=dict)
    no_fields: frozenset[int] = frozenset()
    nvlink: Literal["kib", "bytes"] = "kib"
    all_links: bool = True
    pcie_bits: Literal[32, 64] = 64
    quirks: int = 0
