"""Dashboards as code: `python -m grafana` writes grafana/dashboards/*.json, or into the folder given.

The JSON is committed, so that using a dashboard needs no Python. `make golden` writes it as well.
"""

from __future__ import annotations

import sys
from pathlib import Path

from grafana.cascade import CASCADE
from grafana.contention import CONTENTION
from grafana.fleet import FLEET
from grafana.render import text_of

DASHBOARDS = (FLEET, CONTENTION, CASCADE)


def main(folder: Path) -> None:
    """Write every dashboard into the folder."""
    for dashboard in DASHBOARDS:
        (folder / f"{dashboard.uid}.json").write_text(text_of(dashboard))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "dashboards")
