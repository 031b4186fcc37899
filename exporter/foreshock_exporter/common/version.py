"""Which version of the distribution this is."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """The installed version, or "unknown" when run from a tree that is not installed."""
    try:
        return metadata.version("foreshock")
    except metadata.PackageNotFoundError:
        return "unknown"
