"""An evaluation for programs: JSON, versioned, as docs/evaluation.md describes it."""

from __future__ import annotations

import math
from dataclasses import asdict, is_dataclass
from typing import Any

from foreshock_dashboard.evaluation.evaluation import Evaluation
from foreshock_dashboard.evaluation.figures import Bounds, Figure
from foreshock_dashboard.evaluation.outcome import Outcome
from foreshock_dashboard.model.types import Json

VERSION = 1


def as_json(found: Evaluation) -> Json:
    """Everything; what is not known or not finite is null."""
    return {
        "version": VERSION,
        "title": found.title,
        "figures": [_figure(each) for each in found.figures],
        "scenarios": [plain_value(each) for each in found.scenarios],
        "equal_false_alarms": [plain_value(each) for each in found.equal],
        "curve": [plain_value(each) for each in found.curve],
        "rankings": [plain_value(each) for each in found.ranked],
        "runs": [_run(each) for each in found.runs],
        "failed": [{"run": name, "error": error} for name, error in found.failed],
    }


def _figure(figure: Figure) -> Json:
    return {
        "name": figure.name,
        "unit": figure.unit,
        **plain_value(figure.estimate),
        "bar": _bounds(figure.bar),
        "world_class": _bounds(figure.best),
        "standing": figure.standing,
    }


def _bounds(bounds: Bounds | None) -> Json | None:
    return None if bounds is None else plain_value(bounds)


def _run(outcome: Outcome) -> Json:
    pages = outcome.pages
    return {
        "run": outcome.run.name,
        "scored": outcome.scored,
        "cascade": outcome.expected,
        "cascade_after_seconds": outcome.gap,
        "page_after_seconds": pages.delay,
        "lead_seconds": pages.lead,
        "false_pages": pages.false,
        "service_days": outcome.service_days,
        "advisory_after_seconds": outcome.advisories.delay,
        "false_advisories": outcome.advisories.false,
        "storm_foreseen": outcome.storm,
        "first_page": plain_value(outcome.verdict),
    }


def plain_value(value: Any) -> Any:  # noqa: ANN401 - what these values are made of
    """As JSON has it: named tuples and dataclasses as objects, numbers that are not finite as null."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain_value(each) for name, each in value._asdict().items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain_value(each) for name, each in asdict(value).items()}
    if isinstance(value, tuple | list):
        return [plain_value(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
