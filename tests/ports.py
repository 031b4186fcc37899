"""Ports of loopback at which nothing listens."""

from __future__ import annotations

from bench.support.process import free_ports


def free_port() -> int:
    """A port that is free now."""
    return free_ports(1)[0]
