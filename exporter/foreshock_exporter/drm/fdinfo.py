"""Parser of the usage statistics of DRM clients in /proc/PID/fdinfo. Pure.

Linux, Documentation/gpu/drm-usage-stats.rst. They count what a client submits by its DRM file: graphics, video, and
compute by Vulkan or OpenGL. amdgpu does not count the compute queues of ROCm, which belong to /dev/kfd (see `kfd`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

KERNEL_ENGINES = frozenset({"gfx", "compute", "render", "rcs", "ccs"})
"""Engines that run kernels and shaders: of amdgpu, of i915 (with compute), and of xe."""
_MEMORIES = frozenset({"vram", "vram0", "vram1", "local0", "local1"})
"""Memories of the GPU: of amdgpu, of xe, and of i915."""
_UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_VALUE = re.compile(r"([0-9]{1,20})(?: +([A-Za-z]{1,3}))?")
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


class Client(NamedTuple):
    """One DRM client: its driver, the PCI address of its GPU, and its number, unique for that GPU.

    busy_seconds: time of each kernel engine, over engines of a kind. busy_cycles: cycles of a kernel engine, and those
    that passed meanwhile. memory_bytes: device memory, None if not reported.
    """

    driver: str
    address: str
    number: str
    busy_seconds: Mapping[str, float]
    busy_cycles: Mapping[str, tuple[float, float]]
    memory_bytes: float | None

    @property
    def has_worked(self) -> bool:
        """Whether a kernel engine has ever worked for the client. xe lists engines with 0 cycles too."""
        return any(self.busy_seconds.values()) or any(busy for busy, _ in self.busy_cycles.values())

    def not_below(self, before: Client) -> Client:
        """The client, with the larger value of an engine that has fallen since `before`.

        A value can fall for a moment. Its work is then counted from the larger one (drm-usage-stats.rst).
        """
        seconds = {
            engine: max(busy, before.busy_seconds.get(engine, 0.0)) for engine, busy in self.busy_seconds.items()
        }
        cycles = {}
        for engine, (busy, total) in self.busy_cycles.items():
            busy_before, total_before = before.busy_cycles.get(engine, (0.0, 0.0))
            cycles[engine] = (max(busy, busy_before) if total >= total_before else busy, total)
        return self._replace(busy_seconds={**before.busy_seconds, **seconds}, busy_cycles=cycles)

    def share_since(self, before: Client, seconds: float) -> float:
        """Mean share, 0 to 1, of the time that kernel engines worked for the client in the `seconds` since `before`.

        Values may fall back for a moment; then the client has worked for 0 s (drm-usage-stats.rst).
        """
        share = 0.0
        for engine, busy in self.busy_seconds.items():
            share += max(0.0, busy - before.busy_seconds.get(engine, 0.0)) / seconds
        for engine, (busy, total) in self.busy_cycles.items():
            busy_before, total_before = before.busy_cycles.get(engine, (0.0, 0.0))
            if total > total_before:
                share += max(0.0, busy - busy_before) / (total - total_before)
        return min(1.0, share)


def parse_fdinfo(text: str) -> Client | None:
    """Client of a file descriptor; None if it is no DRM client of a PCI device. Malformed values are left out."""
    lines = (line.partition(":") for line in text.splitlines() if line.startswith("drm-"))
    facts = {key: value.strip() for key, _, value in lines}
    driver, address, client = (facts.get(f"drm-{key}", "") for key in ("driver", "pdev", "client-id"))
    if not driver or not client.isascii() or not client.isdigit() or not _ADDRESS.fullmatch(address.lower()):
        return None
    seconds, cycles = {}, {}
    for engine in sorted(KERNEL_ENGINES):
        capacity = _quantity(facts.get(f"drm-engine-capacity-{engine}", "1"), {"": 1}) or 1.0
        busy = _quantity(facts.get(f"drm-engine-{engine}", ""), {"ns": 1})
        if busy is not None:
            seconds[engine] = busy / 1e9 / capacity
        used = _quantity(facts.get(f"drm-cycles-{engine}", ""), {"": 1})
        total = _quantity(facts.get(f"drm-total-cycles-{engine}", ""), {"": 1})
        if used is not None and total is not None:
            cycles[engine] = (used / capacity, total)
    return Client(driver, address.lower(), client, seconds, cycles, _memory(facts))


def _memory(facts: Mapping[str, str]) -> float | None:
    """Resident device memory in bytes, else that of `drm-memory-`, its name before Linux 6.13; None without either."""
    for prefix in ("drm-resident-", "drm-memory-"):
        values = [_quantity(facts[key], _UNITS) for name in _MEMORIES if (key := prefix + name) in facts]
        if known := [value for value in values if value is not None]:
            return sum(known)
    return None


def _quantity(text: str, units: Mapping[str, int]) -> float | None:
    match = _VALUE.fullmatch(text)
    scale = units.get(match[2] or "") if match else None
    return None if match is None or scale is None else float(match[1]) * scale
