"""The engine under a store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ASKED = """
import sys
from pathlib import Path
from foreshock_dashboard.store.blocks.duckdb_engine import connect
print(connect(Path(sys.argv[1]), "64MB", 1).execute("select current_setting('enable_progress_bar')").fetchone()[0])
"""


def test_a_long_query_draws_nothing_into_what_a_command_prints(tmp_path: Path) -> None:
    """DuckDB does where the program has no file of its own, as the processes that `foreshock evaluate` starts."""
    told = subprocess.run([sys.executable, "-c", ASKED, str(tmp_path)], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"
