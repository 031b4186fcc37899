"""The DuckDB engine of a store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path
from foreshock_dashboard.store.blocks.duckdb_engine import connect
print(connect(Path(sys.argv[1]), "64MB", 1).execute("select current_setting('enable_progress_bar')").fetchone()[0])
"""


def test_a_long_query_draws_no_progress_bar(tmp_path: Path) -> None:
    """DuckDB draws one in programs without a main file, such as the worker processes of the evaluation."""
    process = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=True)
    assert process.stdout == "False\n"
