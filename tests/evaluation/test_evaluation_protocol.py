"""What pages are worth: hits, leads and false ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge
from foreshock_evaluation.protocol import components, count_pages, happened_as_expected, score_pages
from foreshock_evaluation.truth import parse_truth

if TYPE_CHECKING:
    from tests.evaluation.conftest import Stage

ONE: dict[Service, int] = {}


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
def test_a_page_counts_by_when_it_comes(
    after: float | None, hit: bool, lead: float, false: int, stage: type[Stage]
) -> None:
    """Fault at 0, cascade 300 s later: a hit up to five minutes after it, false before 0 and half an hour after."""
    pages = [] if after is None else [stage.page(stage.onset + after)]

    found = score_pages(stage.truth, stage.expected, pages, ONE)

    assert (found.hit, found.lead_seconds, found.false_alarms) == (hit, lead, false)
    assert (found.early, found.useful) == (lead > 0, lead >= 120)
    assert found.delay_seconds == (after if hit else None)


def test_a_page_that_names_nobody_affected_is_no_hit(stage: type[Stage]) -> None:
    """The first that names one counts, even if it is the culprit."""
    wrong, right = stage.page(stage.onset + 10, stage.other), stage.page(stage.onset + 50, stage.batch)

    assert not score_pages(stage.truth, stage.expected, [wrong], ONE).hit
    assert score_pages(stage.truth, stage.expected, [right, wrong], ONE).first_hit == right


def test_every_page_of_a_calm_run_is_false(stage: type[Stage]) -> None:
    """And all of its time is quiet."""
    pages = [stage.page(stage.start + 100), stage.page(stage.start + 2000)]

    found = score_pages(stage.calm, replace(stage.expected, cascade=False), pages, ONE)

    assert (found.hit, found.false_alarms, found.quiet_seconds) == (False, 2, 4800.0)


def test_quiet_time_of_a_cascade_leaves_out_what_follows_the_fault(stage: type[Stage]) -> None:
    """From the fault to half an hour after the cascade, as far as the recording goes."""
    assert score_pages(stage.truth, stage.expected, [], ONE).quiet_seconds == 4800.0 - (300.0 + 1800.0)

    short = replace(stage.truth, end=stage.cascade + 600.0)
    assert score_pages(short, stage.expected, [], ONE).quiet_seconds == stage.onset - stage.start


@pytest.mark.parametrize(("apart", "pages"), [((0, 899), 1), ((0, 900), 2), ((0, 800, 1600), 1), ((0, 100, 1100), 2)])
def test_pages_of_one_component_close_to_each_other_are_one(
    apart: tuple[float, ...], pages: int, stage: type[Stage]
) -> None:
    """A quarter of an hour after the last; of another component each counts."""
    in_time = [stage.page(1000.0 + each) for each in apart]
    component = {stage.model: 0, stage.gateway: 0, stage.other: 1}

    assert count_pages(in_time, component) == pages
    assert count_pages([*in_time, stage.page(1000.0 + apart[-1] + 1, stage.gateway)], component) == pages
    assert count_pages([*in_time, stage.page(1000.0 + apart[-1] + 1, stage.other)], component) == pages + 1


def test_calls_and_shared_gpus_join_services(stage: type[Stage]) -> None:
    """Batch work belongs to the model whose GPUs it shares; whoever calls nobody and shares nothing is alone."""
    found = components(stage.world(points=2))

    assert len({found[each] for each in (stage.entry, stage.gateway, stage.model, stage.batch)}) == 1
    assert found[stage.other] != found[stage.model]


def test_users_outside_join_nothing(stage: type[Stage]) -> None:
    """Everything has calls from outside."""
    user = Service("", "user")
    edges = (Edge(user, stage.other, "virtual_node"), Edge(user, stage.entry, "virtual_node"))

    found = components(stage.world(points=2, edges=edges, tenants=(), busy=stage.world(points=2).busy[:0]))

    assert len({found[each] for each in found}) == len(found)


def test_a_run_that_went_otherwise_than_meant_is_not_scored(stage: type[Stage]) -> None:
    """No cascade where one is expected, or one where none is."""
    calm = replace(stage.expected, cascade=False)

    assert happened_as_expected(stage.truth, stage.expected)
    assert happened_as_expected(stage.calm, calm)
    assert not happened_as_expected(stage.calm, stage.expected)
    assert not happened_as_expected(stage.truth, calm)


def test_misses_of_objectives_before_the_fault_are_no_part_of_the_cascade() -> None:
    """`truth.json` tells of them as well, by bare names."""
    found = parse_truth(
        {
            "scenario": "slow", "seed": 3, "start": 0, "end": 4000, "onset": 1000.0, "cause": "dependency",
            "origin": "data/store", "culprit": "store", "pool": "", "victims": ["product/front"],
            "breached": {"llm": 500.0, "store": 400.0, "front": 1200.0},
        }
    )  # fmt: skip

    assert found.breached == {Service("product", "front"): 1200.0}
    assert found.cascaded
    assert found.cascade_onset == 1200.0
