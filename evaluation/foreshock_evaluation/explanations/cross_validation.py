"""Cross-validation of the gate of `explain`: values chosen on all systems but one, and what they score on that one.

All sets of signals of a system are left out together, because they are of the same faults.

If the values in use are about as good as those chosen without a system, they are not fitted to it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import product
from typing import NamedTuple

from foreshock_dashboard.analysis.root_cause import parameters
from foreshock_dashboard.model.query import NoDataError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.replay.explain import Comparison, SourceExtent, compare
from foreshock_dashboard.replay.replay import DEFAULTS, ReplayTiming, sample_range
from foreshock_evaluation.explanations.incident import Incident, read_incident
from foreshock_evaluation.explanations.questions import fault_questions, quiet_questions
from foreshock_evaluation.explanations.scoring import Task, services_of, signal_sets
from foreshock_evaluation.scores.tables import Table

GATE_Z, SYMPTOM_WEIGHT, RESOURCE_WEIGHT = (3.4, 3.8, 4.2, 4.6, 5.0), (0.2, 0.4, 0.6), (0.4, 0.5, 0.6)
MIN_SPECIFICITY, SPECIFICITY_WEIGHT = 0.95, 2.0
"""Specificity that is wanted, and the weight of what is missing to it against that of right answers."""


class Values(NamedTuple):
    """Values of the gate."""

    gate_z: float
    symptom_weight: float
    resource_weight: float


IN_USE = Values(parameters.GATE_Z, parameters.SYMPTOM_WEIGHT, parameters.RESOURCE_GATE_WEIGHT)
CHOICES = tuple(dict.fromkeys((*map(Values._make, product(GATE_Z, SYMPTOM_WEIGHT, RESOURCE_WEIGHT)), IN_USE)))


class Trial(NamedTuple):
    """A question under each of `CHOICES`. right, answered: whether the first service is right, and any is named."""

    system: str
    is_fault: bool
    right: tuple[bool, ...]
    answered: tuple[bool, ...]


class Score(NamedTuple):
    """Shares of faults with the right service first and without an answer, and specificity."""

    first: float
    empty: float
    specificity: float

    @property
    def merit(self) -> float:
        """What is maximized."""
        return self.first - SPECIFICITY_WEIGHT * max(0.0, MIN_SPECIFICITY - self.specificity)


def try_all(task: Task) -> list[Trial]:
    """Ask the questions about a recording under each of `CHOICES`.

    Raises:
        SourceError: the recording cannot be read.
    """
    incident, trials = read_incident(task.path), list[Trial]()
    with closing(Recording(task.path)) as recording:
        start, end = sample_range(recording, None)
        timing = ReplayTiming.of(recording.scrape_interval(default=DEFAULTS.scrape_interval))
        questions = [
            *fault_questions(incident, end, task.offsets, task.askers, task.live),
            *quiet_questions(incident, start, end, services_of(recording), task.askers, task.live),
        ]
        for signals, source in signal_sets(RecordedMetrics(recording), separate=task.separate):
            system = f"{incident.topology.partition('-')[0]}, {signals}"
            for question in questions:
                asked = None if question.service is None else str(question.service)
                extent = SourceExtent(str(task.path), start, question.end)
                is_fault = question.offset is not None and incident.is_fault
                first: list[Service | None] = [None] * len(CHOICES)
                with suppress(NoDataError):
                    compared = compare(source, extent, timing, asked, question.at)
                    first = [_first(compared, values) for values in CHOICES]
                trials.append(_trial(system, first, incident, is_fault=is_fault))
    return trials


def _trial(system: str, first: Sequence[Service | None], incident: Incident, *, is_fault: bool) -> Trial:
    right = tuple(service is not None and incident.is_root_cause(service) for service in first)
    return Trial(system, is_fault, right, tuple(service is not None for service in first))


def _first(compared: Comparison, values: Values) -> Service | None:
    """The service that is named first; None without an answer."""
    with _in_use(values):
        ranking = compared.ranking()
    return ranking.candidates[0].service if ranking.passed else None


@contextmanager
def _in_use(values: Values) -> Iterator[None]:
    before = parameters.GATE_Z, parameters.SYMPTOM_WEIGHT, parameters.GATE_WEIGHTS
    weights = {**parameters.GATE_WEIGHTS, "resource": values.resource_weight}
    names = ("GATE_Z", "SYMPTOM_WEIGHT", "GATE_WEIGHTS")
    try:
        _assign(names, (values.gate_z, values.symptom_weight, weights))
        yield
    finally:
        _assign(names, before)


def _assign(names: Iterable[str], values: Iterable[object]) -> None:
    for name, value in zip(names, values, strict=True):
        setattr(parameters, name, value)


def cross_validation(trials: Sequence[Trial]) -> Table:
    """One row per system: the values chosen on the other systems, and the scores on it beside those of `IN_USE`."""
    by_system: Mapping[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        by_system[trial.system].append(trial)
    rows = [["left out", "chosen on the others", "scores on it", "with the values in use", "faults", "fault-free"]]
    used = CHOICES.index(IN_USE)
    for system, own in sorted(by_system.items()):
        others = [part for name, part in by_system.items() if _topology(name) != _topology(system)]
        best = max(range(len(CHOICES)), key=lambda i: (_merit(others, i), i == used))
        chosen = CHOICES[best]
        rows.append(
            [
                system,
                f"{chosen.gate_z:g} / {chosen.symptom_weight:g} / {chosen.resource_weight:g}",
                _text(score_of(own, best)),
                _text(score_of(own, used)),
                str(sum(trial.is_fault for trial in own)),
                str(sum(not trial.is_fault for trial in own)),
            ]
        )
    return rows


def _topology(system: str) -> str:
    return system.partition(",")[0]


def _merit(systems: Sequence[Sequence[Trial]], choice: int) -> float:
    merits = [score_of(trials, choice).merit for trials in systems]
    known = [merit for merit in merits if math.isfinite(merit)]
    return sum(known) / len(known) if known else 0.0


def score_of(trials: Iterable[Trial], choice: int) -> Score:
    """Scores of one of `CHOICES`; NaN without faults, or without fault-free questions."""
    faults, quiet = list[Trial](), list[Trial]()
    for trial in trials:
        (faults if trial.is_fault else quiet).append(trial)
    return Score(
        _mean([trial.right[choice] for trial in faults]),
        _mean([not trial.answered[choice] for trial in faults]),
        _mean([not trial.answered[choice] for trial in quiet]),
    )


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else math.nan


def _text(score: Score) -> str:
    return " / ".join("–" if math.isnan(share) else f"{share:.2f}" for share in score)
