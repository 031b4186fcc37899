"""Version of the distribution."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """Installed version, or "unknown" in a source tree that is not installed."""
    try:
        return metadata.version("foreshock")
    except metadata.PackageNotFoundError:
        return "unknown"
