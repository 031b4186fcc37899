"""Where what comes along is, beside the packages: in the wheel in this folder, in a clone at its root."""

from __future__ import annotations

from pathlib import Path


def alerts() -> Path:
    """The folder with `*.rules.yml`, `alertmanager.yml` and `runbooks/`.

    Raises:
        FileNotFoundError: the installation lacks it.
    """
    return _shipped("alerts", "runbooks")


def grafana() -> Path:
    """The folder with `dashboards/` and `provisioning/`.

    Raises:
        FileNotFoundError: the installation lacks it.
    """
    return _shipped("grafana", "dashboards")


def _shipped(name: str, part: str) -> Path:
    here = Path(__file__).parent
    for folder in (here / name, here.parents[1] / name):
        if (folder / part).is_dir():
            return folder
    raise FileNotFoundError(f"{name}/{part} is missing from {here}; install foreshock again")
