"""`foreshock serve` on a clock that runs faster than the wall clock; part of `bench/hub/soak.py`.

.venv/bin/python -m bench.support.accelerated_hub SPEED ORIGIN WALL_ORIGIN [flags of `foreshock serve`]
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from unittest.mock import patch

from bench.support.send_spans import clock_of
from foreshock_dashboard.cli.serving.serve import serve
from foreshock_dashboard.hub import analysis_loop, hub

MIN_SETTLE_SECONDS = 0.1
"""Wall-clock delay of an evaluation on a fast clock. Scrapes of loopback arrive in less."""

if __name__ == "__main__":
    clock = clock_of(sys.argv[1:4])
    settle = max(MIN_SETTLE_SECONDS, analysis_loop.SETTLE_SECONDS / clock.speed)
    with ExitStack() as patched:
        for module in (analysis_loop, hub):
            patched.enter_context(patch.object(module, "SETTLE_SECONDS", settle))
        patched.enter_context(patch("foreshock_dashboard.cli.serving.serve.clock_at", return_value=clock))
        serve.main(sys.argv[4:])
