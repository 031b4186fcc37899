"""Hits, lead times, and false alarms of pages."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge
from foreshock_evaluation.scores.protocol import (
    components,
    count_pages,
    happened_as_expected,
    is_contained,
    score_pages,
)
from foreshock_evaluation.scores.truth import parse_truth

if TYPE_CHECKING:
    from tests.evaluation.conftest import Stage

NO_COMPONENTS: dict[Service, int] = {}


@pytest.mark.parametrize(
    ("after", "hit", "lead", "false"),
    [
        (None, False, 0.0, 0),
        (-10.0, False, 0.0, 1),
        (0.0, True, 300.0, 0),
        (180.0, True, 120.0, 0),
        (290.0, True, 10.0, 0),
        (300.0, True, 0.0, 0),
        (600.0, True, 0.0, 0),
        (610.0, False, 0.0, 0),
        (300.0 + 1800.0, False, 0.0, 0),
        (300.0 + 1810.0, False, 0.0, 1),
    ],
)
def test_a_page_is_scored_by_its_time(
    after: float | None, hit: bool, lead: float, false: int, stage: type[Stage]
) -> None:
    """Fault at 0, cascade at 300 s: a hit up to 600 s, false before 0 and after 2,100 s."""
    pages = [] if after is None else [stage.page(stage.onset + after)]

    score = score_pages(stage.truth, stage.expected, pages, NO_COMPONENTS)

    assert (score.hit, score.lead_seconds, score.false_alarms) == (hit, lead, false)
    assert (score.early, score.useful) == (lead > 0, lead >= 120)
    assert score.delay_seconds == (after if hit else None)


def test_a_page_about_unaffected_services_is_no_hit(stage: type[Stage]) -> None:
    """The root cause counts as affected."""
    wrong, right = stage.page(stage.onset + 10, stage.other), stage.page(stage.onset + 50, stage.batch)

    assert not score_pages(stage.truth, stage.expected, [wrong], NO_COMPONENTS).hit
    assert score_pages(stage.truth, stage.expected, [right, wrong], NO_COMPONENTS).first_hit == right


def test_every_page_of_a_calm_run_is_false(stage: type[Stage]) -> None:
    """All of its time is quiet."""
    pages = [stage.page(stage.start + 100), stage.page(stage.start + 2000)]

    score = score_pages(stage.calm, replace(stage.expected, cascade=False), pages, NO_COMPONENTS)

    assert (score.hit, score.false_alarms, score.quiet_seconds) == (False, 2, 4800.0)


@pytest.mark.parametrize(
    ("after", "about", "cascade", "false"),
    [
        (50.0, "model", None, 0),
        (200.0 + 1800.0, "model", None, 0),
        (200.0 + 1810.0, "model", None, 1),
        (-10.0, "model", None, 1),
        (50.0, "other", None, 1),
        (50.0, "model", False, 1),
    ],
)
def test_a_page_about_the_only_service_that_breached_is_no_false_alarm_where_the_run_decides(
    after: float, about: str, cascade: bool | None, false: int, stage: type[Stage]
) -> None:
    """The model breaches 200 s after the fault, and nothing else does."""
    alone = replace(stage.truth, victims=(), breached={stage.model: stage.onset + 200.0})
    expected = replace(stage.expected, cascade=cascade)

    score = score_pages(alone, expected, [stage.page(stage.onset + after, getattr(stage, about))], NO_COMPONENTS)

    assert (score.hit, score.false_alarms) == (False, false)
    assert is_contained(alone, expected) == (cascade is None)
    assert not is_contained(replace(alone, breached={}), expected)


def test_quiet_time_excludes_the_fault_and_its_aftermath(stage: type[Stage]) -> None:
    """The aftermath ends half an hour after the cascade, or with the recording."""
    assert score_pages(stage.truth, stage.expected, [], NO_COMPONENTS).quiet_seconds == 4800.0 - (300.0 + 1800.0)

    short = replace(stage.truth, end=stage.cascade + 600.0)
    assert score_pages(short, stage.expected, [], NO_COMPONENTS).quiet_seconds == stage.onset - stage.start


@pytest.mark.parametrize(("times", "pages"), [((0, 899), 1), ((0, 900), 2), ((0, 800, 1600), 1), ((0, 100, 1100), 2)])
def test_pages_of_one_component_within_15_minutes_count_once(
    times: tuple[float, ...], pages: int, stage: type[Stage]
) -> None:
    """A page of another component counts."""
    in_time = [stage.page(1000.0 + time) for time in times]
    component = {stage.model: 0, stage.gateway: 0, stage.other: 1}

    assert count_pages(in_time, component) == pages
    assert count_pages([*in_time, stage.page(1000.0 + times[-1] + 1, stage.gateway)], component) == pages
    assert count_pages([*in_time, stage.page(1000.0 + times[-1] + 1, stage.other)], component) == pages + 1


def test_calls_and_shared_gpus_join_services(stage: type[Stage]) -> None:
    """Batch work and the model share GPUs; a service without calls and shared GPUs is alone."""
    component = components(stage.world(points=2))

    assert len({component[service] for service in (stage.entry, stage.gateway, stage.model, stage.batch)}) == 1
    assert component[stage.other] != component[stage.model]


def test_calls_from_outside_join_no_services(stage: type[Stage]) -> None:
    user = Service("", "user")
    edges = (Edge(user, stage.other, "virtual_node"), Edge(user, stage.entry, "virtual_node"))

    component = components(stage.world(points=2, edges=edges, tenants=(), busy=stage.world(points=2).busy[:0]))

    assert len(set(component.values())) == len(component)


def test_a_run_that_contradicts_its_scenario_is_not_scored(stage: type[Stage]) -> None:
    """An expected cascade is missing, or an unexpected one happened."""
    calm = replace(stage.expected, cascade=False)

    assert happened_as_expected(stage.truth, stage.expected)
    assert happened_as_expected(stage.calm, calm)
    assert not happened_as_expected(stage.calm, stage.expected)
    assert not happened_as_expected(stage.truth, calm)


def test_slo_breaches_before_the_fault_are_not_part_of_the_cascade() -> None:
    """`truth.json` lists them as well, by name without namespace."""
    truth = parse_truth(
        {
            "scenario": "slow", "seed": 3, "start": 0, "end": 4000, "onset": 1000.0, "cause": "dependency",
            "origin": "data/store", "root_cause": "store", "pool": "", "victims": ["product/front"],
            "breached": {"llm": 500.0, "store": 400.0, "front": 1200.0},
        }
    )  # fmt: skip

    assert truth.breached == {Service("product", "front"): 1200.0}
    assert truth.cascaded
    assert truth.cascade_onset == 1200.0


def test_a_page_of_another_known_fault_is_no_false_alarm(stage: type[Stage]) -> None:
    """It lasts for two minutes after the end of that fault, and this time is not quiet."""
    calm = replace(stage.truth, victims=(), breached={})
    known = replace(calm, others=((stage.start + 100, stage.start + 200),))
    pages = [stage.page(stage.start + 150), stage.page(stage.start + 310)]

    score = score_pages(known, stage.expected, pages, NO_COMPONENTS)

    assert score.false_alarms == 0
    assert score.quiet_seconds == calm.end - calm.start - 220
    assert score_pages(calm, stage.expected, pages, NO_COMPONENTS).false_alarms > 0
