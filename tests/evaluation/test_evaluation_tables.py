"""From outcomes to the table: what counts where, what is reached, and how others compare."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import orjson
import pytest

from foreshock_dashboard.model.service import Service
from foreshock_evaluation.baselines import DETECTORS
from foreshock_evaluation.comparison import Entry, TopHits
from foreshock_evaluation.evaluation import Evaluation, dump_json, summarize
from foreshock_evaluation.figures import Bounds, Figure
from foreshock_evaluation.outcome import Outcome, Run
from foreshock_evaluation.protocol import DAY_SECONDS, DetectionScore, Page
from foreshock_evaluation.report import between, document, format_bounds, format_number, terminal
from foreshock_evaluation.resampling import Estimate
from foreshock_evaluation.verdict import Eta, Verdict

GUILTY = Service("ml", "batch")
RIGHT = Verdict(
    "ml/batch", "pool_contention", True, True, True, True, 0.8, (Eta(20.0, 30.0, 60.0, 90.0, 120.0, 110.0),)
)


def pages(lead: float | None = None, false: int = 0) -> DetectionScore:
    """A page that came so many seconds before the cascade; none where that is None. A day is quiet."""
    first = None if lead is None else Page(1000.0 - lead, frozenset({GUILTY}))
    return DetectionScore(first, max(0.0, lead or 0.0), None if lead is None else 300.0 - lead, false, DAY_SECONDS)


def entry(
    scenario: str,
    seed: int,
    heard: DetectionScore,
    *,
    cascade: bool = True,
    lossy: DetectionScore | None = None,
    says: Verdict = RIGHT,
) -> Entry:
    """A run of two services, scored; others alarm an hour late and ten times for nothing."""
    ours = Outcome(
        Run(scenario, "small", seed), True, cascade, "pool_contention" if cascade else "", 300.0 if cascade else None,
        2, heard, heard, says if heard.first_hit else None, None,
    )  # fmt: skip
    missing = replace(ours, pages=lossy) if lossy else None
    others = {detector.name: tuple(pages(None, 10) for _ in detector.thresholds) for detector in DETECTORS}
    return Entry(ours, frozenset({GUILTY}), missing, others, {"max z": TopHits(0.5, 1.0)} if heard.first_hit else {})


ENTRIES = (
    entry("starve", 1, pages(200.0), lossy=pages(200.0)),
    entry("starve", 2, pages(-30.0), lossy=pages(None)),
    entry("outage", 1, pages(400.0), lossy=pages(100.0)),
    entry("outage", 2, pages(None, 1), lossy=pages(None)),
    entry("retry-storm", 1, pages(None)),
    entry("calm", 1, pages(None, 1), cascade=False),
    entry("diurnal-peak", 1, pages(None, 0), cascade=False),
)


@pytest.fixture(name="found")
def _found() -> Evaluation:
    day = entry("calm", 9, pages(None, 3), cascade=False).ours
    unscored = entry("starve", 3, pages(None))
    unscored = replace(unscored, ours=replace(unscored.ours, scored=False))
    long = replace(day, run=day.run._replace(duration=86_400.0))
    entries = (*ENTRIES, unscored)
    return summarize("Suite x", entries, frozenset({"retry-storm"}), long, [("small-4-starve", "it is damaged")])


def values(found: Evaluation) -> Mapping[str, float]:
    """Figures by name."""
    return {figure.name: figure.estimate.value for figure in found.figures}


def test_figures_count_what_they_are_about(found: Evaluation) -> None:
    """Misses have a lead of 0; a storm counts by its advisory only; what went otherwise than meant counts nowhere."""
    told = values(found)

    assert told["warned by onset + 5 min"] == 0.75
    assert told["warned before onset"] == 0.5
    assert told["lead, median"] == 0.0
    assert told["lead, lower quartile"] == 0.0
    assert told["time from the fault to the onset, median"] == 300.0
    assert told["pages per service-day, benign runs"] == pytest.approx(1 / 4)
    assert told["benign runs paged"] == 0.5
    assert told["culprit top-1 at first page"] == 1.0
    assert told["time to breach within p10–p90"] == 1.0
    assert told["time to breach within p20–p80"] == 0.0
    assert told["time to breach, median relative error"] == pytest.approx(50 / 110)
    assert told["false pages per service-day, all quiet time"] == pytest.approx(2 / 14)
    assert told["lost with 10 % of scrapes missing"] == pytest.approx(25.0)
    assert told["pages in 24 h of calm, 2 services"] == 3
    assert math.isnan(told["retry storm: advisory before the trigger"])


def test_a_cascade_that_happens_without_its_culprit_is_counted(found: Evaluation) -> None:
    """Of those for which it was tried, by scenario."""
    name = "cascades that do not happen without their culprit"
    told = (False, True, False, None, None, None, None)
    tried = [replace(each, happens_without=alone) for each, alone in zip(ENTRIES, told, strict=True)]

    assert name not in values(found)
    assert values(summarize("Suite x", tried, frozenset()))[name] == pytest.approx((0.5 + 1.0) / 2)


@pytest.mark.parametrize(
    ("value", "standing"), [(0.98, "world-class"), (0.92, "met"), (0.80, "missed"), (math.nan, "")]
)
def test_a_figure_stands_where_its_bounds_say(value: float, standing: str) -> None:
    """What is not known is neither met nor missed."""
    figure = Figure("x", "share", Estimate(value), Bounds(0.90), Bounds(0.97))

    assert figure.standing == standing
    assert replace(figure, bar=None).standing == ""


def test_a_scenarios_row_tells_of_its_runs(found: Evaluation) -> None:
    """Cascades first; seconds are medians."""
    rows = {row.scenario: row for row in found.scenarios}

    assert [row.scenario for row in found.scenarios] == ["outage", "retry-storm", "starve", "calm", "diurnal-peak"]
    assert (rows["starve"].warned, rows["starve"].early, rows["starve"].lead, rows["starve"].delay) == (2, 1, 100, 215)
    assert rows["starve"].culprits == (("ml/batch", 2),)
    assert rows["calm"].false == 1


def test_others_are_compared_at_no_more_false_pages_than_ours(found: Evaluation) -> None:
    """Where all their thresholds page more often, at the one that does least; the difference is paired."""
    ours, *others = found.equal

    assert ours.false.value == pytest.approx(2 / 14)
    assert {point.detector for point in others} == {each.name for each in DETECTORS}
    assert all(point.false.value == 5.0 and point.ahead.value == 0.5 for point in others)
    assert len(found.curve) == 2 + sum(len(each.thresholds) for each in DETECTORS)
    assert sum(point.usual for point in found.curve) == 1 + len(DETECTORS)


def test_a_better_threshold_is_taken_where_it_is_quiet_enough() -> None:
    """The one that warns early most often."""
    first = DETECTORS[0]
    quiet = {first.name: tuple(pages(50.0 if i == 1 else None) for i in range(len(first.thresholds)))}
    entries = [replace(each, others={**each.others, **quiet}) for each in ENTRIES]

    found = summarize("x", entries, frozenset({"retry-storm"}))

    best = next(point for point in found.equal if point.detector == first.name)
    assert (best.threshold, best.early.value, best.ahead.value) == (first.thresholds[1], 1.0, -0.5)


def test_rankings_stand_beside_a_constant_answer(found: Evaluation) -> None:
    """Who always says what is right most often is right each time here."""
    rows = {row.name: (row.top1.value, row.top3.value) for row in found.ranked}

    assert rows == {"foreshock": (1.0, 1.0), "max z": (0.5, 1.0), "constant": (1.0, 1.0)}


def test_a_terminal_shows_all_of_it(found: Evaluation) -> None:
    """With a line for each run where that is asked for; what could not be scored or played is named."""
    text = terminal(found, runs=True)

    for part in ("Suite x", "small-2-starve", "world-class", "EWMA", "max z", "≥ 0.90", "0.75"):
        assert part in text
    assert "Not scored, as they went otherwise than meant: small-3-starve." in text
    assert "Could not be played: small-4-starve: it is damaged" in text
    assert "small-2-starve" not in terminal(found, runs=False)


def test_what_is_just_as_asked_is_met_however_it_was_summed() -> None:
    summed = 0.1 + 0.1 + 0.1
    assert summed > 0.3
    assert Bounds(most=0.3).met(summed)
    assert not Bounds(most=0.3).met(0.3001)


def test_a_document_keeps_what_is_around_its_markers(found: Evaluation) -> None:
    """And names what was late or wrong; without markers it says what is missing."""
    text = "# Evaluation\n\n<!-- evaluate dev -->\nold\n<!-- end of evaluate dev -->\n\nWhat was tried.\n"

    new = between(text, "dev", document(found))

    assert new.startswith("# Evaluation\n\n<!-- evaluate dev -->\n**Suite x**")
    assert new.endswith("<!-- end of evaluate dev -->\n\nWhat was tried.\n")
    assert "\nold\n" not in new
    assert "small-2-starve (30 s)" in new
    assert between(new, "dev", document(found)) == new
    with pytest.raises(ValueError, match="has no lines '<!-- evaluate heldout -->'"):
        between(text, "heldout", "")


def test_json_has_everything_and_no_number_that_is_none(found: Evaluation) -> None:
    """Versioned; what is not known is null."""
    told = orjson.loads(dump_json(found))

    assert told["version"] == 1
    warned = told["figures"][0]
    assert (warned["name"], warned["value"], warned["bar"]) == (
        "warned by onset + 5 min",
        0.75,
        {"least": 0.9, "most": None},
    )
    assert told["figures"][2]["value"] is None
    run = next(each for each in told["runs"] if each["run"] == "small-1-starve")
    assert (run["lead_seconds"], run["first_page"]["named"]) == (200.0, "ml/batch")
    assert run["first_page"]["etas"][0]["p50"] == 60.0
    assert told["failed"] == [{"run": "small-4-starve", "error": "it is damaged"}]


def test_numbers_read_as_people_write_them() -> None:
    """With their unit; a dash where nothing is known."""
    assert [format_number(x, "seconds") for x in (210.4, math.nan, math.inf)] == ["210 s", "–", "∞"]
    assert format_number(0.926, "share") == "0.93"
    assert [format_bounds(each, "share") for each in (Bounds(0.9), Bounds(most=0.1), Bounds(0.65, 0.95), None)] == [
        "≥ 0.90", "≤ 0.10", "0.65–0.95", ""
    ]  # fmt: skip


def test_an_evaluation_of_nothing_has_no_figures() -> None:
    """As when every run failed."""
    found = summarize("x", [], frozenset(), None, [("small-1-starve", "it is damaged")])

    assert all(math.isnan(figure.estimate.value) for figure in found.figures)
    assert "Could not be played: small-1-starve" in terminal(found, runs=True)
    assert orjson.loads(dump_json(found))["runs"] == []
