"""Where the alert rules and runbooks are that come along: in the wheel beside this file, in a clone in alerts/."""

from __future__ import annotations

from pathlib import Path


def alerts() -> Path:
    """The folder with `*.rules.yml`, `alertmanager.yml` and `runbooks/`.

    Raises:
        FileNotFoundError: the installation lacks it.
    """
    here = Path(__file__).parent
    for folder in (here / "alerts", here.parents[1] / "alerts"):
        if (folder / "runbooks").is_dir():
            return folder
    raise FileNotFoundError(f"the alert rules are missing from {here}; install foreshock again")
