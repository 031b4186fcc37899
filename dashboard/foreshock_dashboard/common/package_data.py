"""Folders of files that are installed with the packages: in a wheel inside them, in a clone at its root."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def alerts_dir() -> Path:
    """The folder with `*.rules.yml`, `alertmanager.yml` and `runbooks/`; FileNotFoundError if it is missing."""
    return _data_dir("alerts", "runbooks")


def grafana_dir() -> Path:
    """The folder with `dashboards/` and `provisioning/`; FileNotFoundError if it is missing."""
    return _data_dir("grafana", "dashboards")


def _data_dir(name: str, required: str) -> Path:
    for folder in (_PACKAGE / name, _PACKAGE.parents[1] / name):
        if (folder / required).is_dir():
            return folder
    raise FileNotFoundError(f"{name}/{required} is missing from {_PACKAGE}; install foreshock again")
