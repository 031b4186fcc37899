"""`make bench`: every benchmark, one after the other."""

from __future__ import annotations

import subprocess
import sys

PARTS = (
    ("bench.hub.parts",),
    ("bench.hub.load",),
    ("bench.exporter.compare",),
    ("bench.hub.start",),
    ("bench.hub.memory",),
    ("bench.hub.day",),
    ("bench.hub.spans",),
    ("bench.hub.search", "--spans", "1000000"),  # of the ten million that its bar is for: they take minutes to write
    ("bench.simulator.core",),
    ("bench.hub.tick", "--world"),
    ("bench.hub.replay",),
    ("bench.hub.explain",),
    ("bench.hub.page",),
    ("bench.simulator.simulate",),
    ("bench.simulator.simulate", "--size", "large", "--minutes", "2"),
)
"""Benchmarks, each in a process of its own."""


def main() -> int:
    """Run them; returns 1 if one exceeds a limit."""
    held = True
    for module, *flags in PARTS:
        print(f"\n{' '.join([module, *flags])}", flush=True)
        held = subprocess.run([sys.executable, "-m", module, *flags], check=False).returncode == 0 and held
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
