"""Locations of files shipped beside the code: in the package of a wheel, at the root of a clone."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def alerts() -> Path:
    """Folder with `*.rules.yml`, `alertmanager.yml`, and `runbooks/`.

    Raises:
        FileNotFoundError: the installation lacks it.
    """
    return _shipped("alerts", "runbooks")


def grafana() -> Path:
    """Folder with `dashboards/` and `provisioning/`.

    Raises:
        FileNotFoundError: the installation lacks it.
    """
    return _shipped("grafana", "dashboards")


def _shipped(name: str, part: str) -> Path:
    for folder in (_PACKAGE / name, _PACKAGE.parents[1] / name):
        if (folder / part).is_dir():
            return folder
    raise FileNotFoundError(f"{name}/{part} is missing from {_PACKAGE}; install foreshock again")
