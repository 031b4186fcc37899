"""Figures, comparison with baselines, and reports, computed from outcomes."""

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
from foreshock_evaluation.report import class_table, document, format_bounds, format_number, terminal
from foreshock_evaluation.scores.outcome import Outcome, Run
from foreshock_evaluation.scores.protocol import DAY_SECONDS, DetectionScore, Page
from foreshock_evaluation.scores.resampling import Estimate
from foreshock_evaluation.scores.tables import between
from foreshock_evaluation.scores.verdict import Eta, Verdict

SUSPECT = Service("ml", "batch")
RIGHT = Verdict("ml/batch", "gpu_contention", True, True, True, True, 0.8, (Eta(20.0, 30.0, 60.0, 90.0, 120.0, 110.0),))


def pages(lead: float | None = None, false: int = 0) -> DetectionScore:
    """Score of a page `lead` seconds before the cascade; None for no page. A day is quiet."""
    first = None if lead is None else Page(1000.0 - lead, frozenset({SUSPECT}))
    return DetectionScore(first, max(0.0, lead or 0.0), None if lead is None else 300.0 - lead, false, DAY_SECONDS)


def entry(
    scenario: str,
    seed: int,
    score: DetectionScore,
    *,
    cascade: bool = True,
    lossy: DetectionScore | None = None,
    verdict: Verdict = RIGHT,
) -> Entry:
    """A scored run of two services; baselines miss it and have ten false alarms."""
    ours = Outcome(
        Run(scenario, "small", seed), True, cascade, "gpu_contention" if cascade else "", 300.0 if cascade else None,
        2, score, score, verdict if score.first_hit else None, None,
    )  # fmt: skip
    missing = replace(ours, pages=lossy) if lossy else None
    others = {detector.name: tuple(pages(None, 10) for _ in detector.thresholds) for detector in DETECTORS}
    return Entry(ours, frozenset({SUSPECT}), missing, others, {"max z": TopHits(0.5, 1.0)} if score.first_hit else {})


ENTRIES = (
    entry("starve", 1, pages(200.0), lossy=pages(200.0)),
    entry("starve", 2, pages(-30.0), lossy=pages(None)),
    entry("outage", 1, pages(400.0), lossy=pages(100.0)),
    entry("outage", 2, pages(None, 1), lossy=pages(None)),
    entry("retry-storm", 1, pages(None)),
    entry("calm", 1, pages(None, 1), cascade=False),
    entry("diurnal-peak", 1, pages(None, 0), cascade=False),
)


@pytest.fixture(name="evaluation")
def _evaluation() -> Evaluation:
    day = entry("calm", 9, pages(None, 3), cascade=False).ours
    unscored = entry("starve", 3, pages(None))
    unscored = replace(unscored, ours=replace(unscored.ours, scored=False))
    long = replace(day, run=day.run._replace(duration=86_400.0))
    entries = (*ENTRIES, unscored)
    return summarize("Suite x", entries, frozenset({"retry-storm"}), long, [("small-4-starve", "it is damaged")])


def values(evaluation: Evaluation) -> Mapping[str, float]:
    """Figures by name."""
    return {figure.name: figure.estimate.value for figure in evaluation.figures}


def test_each_figure_counts_its_group(evaluation: Evaluation) -> None:
    """Misses have a lead of 0; a retry storm counts by its early warning; contradicting runs do not count."""
    figures = values(evaluation)

    assert figures["warned by onset + 5 min"] == 0.75
    assert figures["warned before onset"] == 0.5
    assert figures["lead, median"] == 0.0
    assert figures["lead, lower quartile"] == 0.0
    assert figures["time from the fault to the onset, median"] == 300.0
    assert figures["pages per service-day, benign runs"] == pytest.approx(1 / 4)
    assert figures["benign runs paged"] == 0.5
    assert figures["root cause top-1 at first page"] == 1.0
    assert figures["time to breach within p10–p90"] == 1.0
    assert figures["time to breach within p20–p80"] == 0.0
    assert figures["time to breach, median relative error"] == pytest.approx(50 / 110)
    assert figures["false pages per service-day, all quiet time"] == pytest.approx(2 / 14)
    assert figures["lost with 10% of scrapes missing"] == pytest.approx(25.0)
    assert figures["pages in 24 h without faults, 2 services"] == 3
    assert math.isnan(figures["retry storm: early warning before the trigger"])


def test_the_lead_of_a_run_counts_as_a_share_of_the_time_from_its_fault_to_its_onset() -> None:
    """The quotient of medians is another figure: 100 of 500 s and 90 of 100 s are shares of 0.2 and 0.9."""
    slow, fast = entry("outage", 1, pages(100.0)), entry("starve", 1, pages(90.0))
    slow, fast = replace(slow, ours=replace(slow.ours, gap=500.0)), replace(fast, ours=replace(fast.ours, gap=100.0))
    figures = values(summarize("Suite x", [slow, fast, entry("model-thrash", 1, pages(None))], frozenset()))

    assert figures["lead share, median"] == pytest.approx(0.2)
    assert figures["lead share, lower quartile"] == 0.0


def test_a_cascade_that_happens_without_its_root_cause_is_counted(evaluation: Evaluation) -> None:
    """Over the runs that were simulated again, by scenario."""
    name = "cascades that do not happen without their root cause"
    happens = (False, True, False, None, None, None, None)
    tried = [replace(run, happens_without=without) for run, without in zip(ENTRIES, happens, strict=True)]

    assert name not in values(evaluation)
    assert values(summarize("Suite x", tried, frozenset()))[name] == pytest.approx((0.5 + 1.0) / 2)


def test_figures_of_one_seed_per_scenario_have_neither_interval_nor_standing() -> None:
    """One run is no evidence of a world-class result; the table has no columns for them."""
    evaluation = summarize("Suite x", ENTRIES[::2], frozenset())
    text = terminal(evaluation, runs=False)

    assert {figure.standing for figure in evaluation.figures} == {""}
    assert "world-class" in terminal(summarize("Suite x", ENTRIES, frozenset()), runs=False)
    assert "world-class" not in text
    assert "95%" not in text.partition("Scenarios")[0]


@pytest.mark.parametrize(
    ("value", "standing"), [(0.98, "world-class"), (0.92, "met"), (0.80, "missed"), (math.nan, "")]
)
def test_the_standing_of_a_figure_follows_from_its_bounds(value: float, standing: str) -> None:
    """An unknown value is neither met nor missed."""
    figure = Figure("x", "share", Estimate(value), Bounds(0.90), Bounds(0.97))

    assert figure.standing == standing
    assert replace(figure, bar=None).standing == ""


def test_a_scenario_row_summarizes_its_runs(evaluation: Evaluation) -> None:
    """Cascades first; seconds are medians."""
    rows = {row.scenario: row for row in evaluation.scenarios}

    assert [row.scenario for row in evaluation.scenarios] == ["outage", "retry-storm", "starve", "calm", "diurnal-peak"]
    assert (rows["starve"].warned, rows["starve"].early, rows["starve"].lead, rows["starve"].delay) == (2, 1, 100, 215)
    assert rows["starve"].root_causes == (("ml/batch", 2),)
    assert rows["calm"].false == 1


def test_classes_of_scenarios_have_a_row_each_and_random_runs_count_by_what_happened() -> None:
    """Retry storms leave no time for a warning, nor a random cascade at its fault; a class without runs has no row."""
    classes = {"cascades": ("starve", "retry-storm"), "look-alikes": ("calm",), "random": ("random",), "none": ("x",)}
    instant = entry("random", 3, pages(None))
    drawn = [entry("random", 1, pages(30.0)), entry("random", 2, pages(None), cascade=False)]
    drawn.append(replace(instant, ours=replace(instant.ours, gap=30.0)))
    summary = summarize("x", [*ENTRIES, *drawn], frozenset({"retry-storm"}), classes=classes)
    rows = {row.name: row for row in summary.classes}

    assert list(rows) == ["cascades", "look-alikes", "random"]
    assert (rows["cascades"].runs, rows["cascades"].cascades, rows["cascades"].warnable) == (3, 3, 2)
    assert (rows["cascades"].warned, rows["cascades"].early, rows["cascades"].lead) == (2, 1, 100)
    assert (rows["look-alikes"].benign, rows["look-alikes"].paged, rows["look-alikes"].false) == (1, 1, 1)
    assert (rows["random"].cascades, rows["random"].benign) == (2, 1)
    assert (rows["random"].warnable, rows["random"].early) == (1, 1)


def test_baselines_are_compared_at_no_more_false_pages_than_ours(evaluation: Evaluation) -> None:
    """If all their thresholds have more, at the one with the fewest; the difference is paired."""
    ours, *others = evaluation.equal

    assert ours.false.value == pytest.approx(2 / 14)
    assert {point.detector for point in others} == {detector.name for detector in DETECTORS}
    assert all(point.false.value == 5.0 and point.ahead.value == 0.5 for point in others)
    assert len(evaluation.curve) == 2 + sum(len(detector.thresholds) for detector in DETECTORS)
    assert sum(point.default for point in evaluation.curve) == 1 + len(DETECTORS)


def test_a_run_in_which_only_the_origin_breached_is_neither_a_cascade_nor_benign(evaluation: Evaluation) -> None:
    """Its false pages count per service-day, as those of any run."""
    contained = entry("random", 1, pages(None, 2), cascade=False)
    contained = replace(contained, ours=replace(contained.ours, contained=True))
    summary = summarize("x", [*ENTRIES, contained], frozenset({"retry-storm"}), classes={"random": ("random",)})
    (row,) = summary.classes

    assert (row.runs, row.cascades, row.benign, row.paged, row.false) == (1, 0, 0, 0, 2)
    assert values(summary)["benign runs paged"] == values(evaluation)["benign runs paged"]
    assert values(summary)["false pages per service-day, all quiet time"] == pytest.approx(4 / 16)


def test_a_class_of_sudden_cascades_has_the_warned_ones_and_no_lead() -> None:
    """Cells without a run are empty."""
    summary = summarize("x", ENTRIES[:2], frozenset({"starve"}), classes={"sudden": ("starve",)})
    table = class_table(summary.classes)

    assert dict(zip(*table, strict=True)) | {"warned": "2 of 2", "early": "", "lead": "–", "benign runs paged": ""} == (
        dict(zip(*table, strict=True))
    )


def test_the_comparison_counts_the_cascades_that_leave_time_for_a_warning() -> None:
    """As the figure does: not a random one at its fault."""
    late, instant = entry("random", 1, pages(30.0)), entry("random", 2, pages(None))
    instant = replace(instant, ours=replace(instant.ours, gap=30.0))
    summary = summarize("x", [late, instant], frozenset())

    assert summary.curve[0].early.value == values(summary)["warned before onset"] == 1.0


def test_a_baseline_is_compared_at_its_best_quiet_threshold() -> None:
    """The one with the most early warnings."""
    first = DETECTORS[0]
    quiet = {first.name: tuple(pages(50.0 if i == 1 else None) for i in range(len(first.thresholds)))}
    entries = [replace(run, others={**run.others, **quiet}) for run in ENTRIES]

    evaluation = summarize("x", entries, frozenset({"retry-storm"}))

    best = next(point for point in evaluation.equal if point.detector == first.name)
    assert (best.threshold, best.early.value, best.ahead.value) == (first.thresholds[1], 1.0, -0.5)


def test_rankings_are_compared_with_a_constant_one(evaluation: Evaluation) -> None:
    """The most frequent root cause is right every time here."""
    rows = {row.name: (row.top1.value, row.top3.value) for row in evaluation.ranked}

    assert rows == {"foreshock": (1.0, 1.0), "max z": (0.5, 1.0), "constant": (1.0, 1.0)}


def test_the_terminal_shows_all_tables(evaluation: Evaluation) -> None:
    """With `runs` a line for each run; unscored and failed runs are listed."""
    text = terminal(evaluation, runs=True)

    for part in ("Suite x", "small-2-starve", "world-class", "EWMA", "max z", "≥ 0.90", "0.75"):
        assert part in text
    assert "Not scored, because they contradict their scenario: small-3-starve." in text
    assert "Could not be replayed: small-4-starve: it is damaged" in text
    assert "small-2-starve" not in terminal(evaluation, runs=False)


def test_bounds_tolerate_floating_point_errors() -> None:
    summed = 0.1 + 0.1 + 0.1
    assert summed > 0.3
    assert Bounds(most=0.3).met(summed)
    assert not Bounds(most=0.3).met(0.3001)


def test_a_document_keeps_the_text_around_its_markers(evaluation: Evaluation) -> None:
    """The tables list late and wrong runs; a document without markers is refused."""
    text = "# Evaluation\n\n<!-- evaluate dev -->\nold\n<!-- end of evaluate dev -->\n\nWhat was tried.\n"

    new = between(text, "dev", document(evaluation))

    assert new.startswith("# Evaluation\n\n<!-- evaluate dev -->\n**Suite x**")
    assert new.endswith("<!-- end of evaluate dev -->\n\nWhat was tried.\n")
    assert "\nold\n" not in new
    assert "small-2-starve (30 s)" in new
    assert between(new, "dev", document(evaluation)) == new
    with pytest.raises(ValueError, match="has no lines '<!-- evaluate heldout -->'"):
        between(text, "heldout", "")


def test_json_is_versioned_and_unknown_values_are_null(evaluation: Evaluation) -> None:
    result = orjson.loads(dump_json(evaluation))

    assert result["version"] == 1
    warned = result["figures"][0]
    assert (warned["name"], warned["value"], warned["bar"]) == (
        "warned by onset + 5 min",
        0.75,
        {"least": 0.9, "most": None},
    )
    assert result["figures"][2]["value"] is None
    run = next(item for item in result["runs"] if item["run"] == "small-1-starve")
    assert (run["lead_seconds"], run["first_page"]["named"]) == (200.0, "ml/batch")
    assert run["first_page"]["etas"][0]["p50"] == 60.0
    assert result["failed"] == [{"run": "small-4-starve", "error": "it is damaged"}]


def test_numbers_have_their_unit_and_unknown_ones_are_a_dash() -> None:
    assert [format_number(x, "seconds") for x in (210.4, math.nan, math.inf)] == ["210 s", "–", "∞"]
    assert format_number(0.926, "share") == "0.93"
    assert [format_bounds(bounds, "share") for bounds in (Bounds(0.9), Bounds(most=0.1), Bounds(0.65, 0.95), None)] == [
        "≥ 0.90", "≤ 0.10", "0.65–0.95", ""
    ]  # fmt: skip


def test_without_a_scored_run_all_figures_are_nan() -> None:
    evaluation = summarize("x", [], frozenset(), None, [("small-1-starve", "it is damaged")])

    assert all(math.isnan(figure.estimate.value) for figure in evaluation.figures)
    assert "Could not be replayed: small-1-starve" in terminal(evaluation, runs=True)
    assert orjson.loads(dump_json(evaluation))["runs"] == []
