"""Version of the distribution."""

from __future__ import annotations

import sys
from pathlib import Path


def version() -> str:
    """Installed version, or "unknown" in a source tree that is not installed.

    From the name of the folder that installers write (`foreshock-1.2.3.dist-info`): importlib.metadata takes 6 MiB.
    """
    folders = (folder.name for entry in sys.path for folder in Path(entry).glob("foreshock-*.dist-info"))
    name = next(folders, "")
    return name.removeprefix("foreshock-").removesuffix(".dist-info") or "unknown"
