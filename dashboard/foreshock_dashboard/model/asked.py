"""Which attributes of a span are read when it comes: those that it is paired, counted and searched by."""

from __future__ import annotations

from collections.abc import Iterable

from foreshock_dashboard.model import gen_ai, halves
from foreshock_dashboard.model.otlp import Pickers


def pickers(searched: Iterable[str]) -> Pickers:
    """Read what pairing and counting ask for, and what the store searches by."""
    return Pickers(searched, halves.CLIENT_KEYS, gen_ai.MEASURED | halves.SERVER_KEYS, gen_ai.KEYS)
