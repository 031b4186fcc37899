"""Entry point of `foreshock`, which also works in the base install."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Sequence

from foreshock_exporter.common.log import configure_logging

HUB_PARTS = frozenset(
    {
        "apprise",
        "cachetools",
        "click",
        "dash",
        "duckdb",
        "fastapi",
        "grpc",
        "httpx",
        "numpy",
        "orjson",
        "plotly",
        "uvicorn",
    }
)
MISSING = "Error: this command requires the hub's dependencies. In a clone, run: pip install '.[{}]'"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Codes: 0 for success, 1 for a failure, 2 for a usage error, 3 if `--fail-on` matched.
    """
    if not logging.getLogger().handlers:  # a program that calls this has its own
        configure_logging("warning", "text")
    try:
        from foreshock_dashboard.cli.commands import COMMAND, run

        return run(COMMAND, sys.argv[1:] if argv is None else argv)
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing not in HUB_PARTS | {"mcp"}:
            raise
        print(MISSING.format("mcp" if missing == "mcp" else "hub"), file=sys.stderr)
        return 1
    finally:
        if argv is None:  # the process ends: its last searches for garbage would visit all libraries, for half a second
            gc.freeze()
