"""`foreshock`: flags → settings → wiring, nothing else."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

MISSING = "foreshock needs its hub parts; install them with: pip install 'foreshock[hub]'"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Exit codes: 0, 1 for failure, 2 for wrong usage."""
    if any(importlib.util.find_spec(name) is None for name in ("dash", "duckdb", "grpc", "httpx", "numpy")):
        print(MISSING, file=sys.stderr)
        return 1
    from foreshock_dashboard.commands import parser, run

    return run(parser().parse_args(argv))
