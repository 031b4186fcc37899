"""`foreshock scenarios`: what a simulated platform can play."""

from __future__ import annotations

import argparse

from foreshock_simulator.scenarios.load import load, names


def run_scenarios(_: argparse.Namespace) -> int:
    """Print each by its name."""
    width = max(map(len, names()))
    for name in names():
        print(f"{name:<{width}}  {load(name).description}")
    return 0
