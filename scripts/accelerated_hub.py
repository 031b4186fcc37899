"""`foreshock serve` on a clock that runs faster than the wall clock; part of `bench_soak.py`.

.venv/bin/python scripts/accelerated_hub.py SPEED ORIGIN WALL_ORIGIN [flags of `foreshock serve`]
"""

from __future__ import annotations

import sys
from unittest.mock import patch

from foreshock_dashboard.cli.serving.serve import serve
from send_spans import clock_of

if __name__ == "__main__":
    clock = clock_of(sys.argv[1:4])
    with patch("foreshock_dashboard.cli.serving.serve.clock_at", return_value=clock):
        serve.main(sys.argv[4:])
