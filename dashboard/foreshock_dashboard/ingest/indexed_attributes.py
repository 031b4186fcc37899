"""Attributes that are decoded as soon as a span arrives: those for pairing, counting and searching."""

from __future__ import annotations

from collections.abc import Iterable

from foreshock_dashboard.ingest.otlp import Pickers, gen_ai
from foreshock_dashboard.ingest.service_graph import call_sides


def pickers(searched: Iterable[str]) -> Pickers:
    """Return the filters per span kind; `searched` are the attributes that the store indexes."""
    return Pickers(searched, call_sides.CLIENT_KEYS, gen_ai.MEASURED | call_sides.SERVER_KEYS, gen_ai.KEYS)
