"""Which attributes of a span are read when it comes: those that it is paired, counted and searched by."""

from __future__ import annotations

from collections.abc import Iterable

from foreshock_dashboard.ingest.otlp import Pickers, gen_ai
from foreshock_dashboard.ingest.service_graph import call_sides


def pickers(searched: Iterable[str]) -> Pickers:
    """Read what pairing and counting ask for, and what the store searches by."""
    return Pickers(searched, call_sides.CLIENT_KEYS, gen_ai.MEASURED | call_sides.SERVER_KEYS, gen_ai.KEYS)
