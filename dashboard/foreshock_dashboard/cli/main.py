"""Entry point of `foreshock`, which also works in the base install."""

from __future__ import annotations

import sys
from collections.abc import Sequence

HUB_PARTS = frozenset(
    {"cachetools", "dash", "duckdb", "fastapi", "grpc", "httpx", "numpy", "orjson", "plotly", "uvicorn"}
)
MISSING = "foreshock needs its hub parts; install them with: pip install 'foreshock[hub]'"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 1 for a failure, 2 for wrong usage."""
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        from foreshock_dashboard.cli.commands import parser, run

        if not words:
            parser().print_help(sys.stderr)
            return 2
        arguments = parser().parse_args(words)  # imports the module of the command
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in HUB_PARTS:
            raise
        print(MISSING, file=sys.stderr)
        return 1
    return run(arguments)
