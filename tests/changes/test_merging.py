"""Changes are put in order, each once, within bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from foreshock_dashboard.changes.merging import SAME_CHANGE_SECONDS, merged_changes, service_aliases
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.change import change_text

LLM = Service("serving", "llm")
SPANS = Change(100.0, "deployment", LLM, before="1.4.1", after="1.4.2", source="traces")
IMAGE = Change(90.0, "deployment", LLM, before="sha-1", after="sha-2", source="kubernetes")
PIPELINE = Change(40.0, "deployment", LLM, after="v1.4.2", source="github", link="https://ci/1", author="ada")
STARTED = replace(PIPELINE, key="github:a/llm:7")
FAILURE = replace(STARTED, at=400.0, failed_at=400.0)
FAILED = replace(STARTED, failed_at=400.0)
LIMIT = Change(50.0, "scaling", LLM, setting="max_replicas", before="4", after="8", source="kubernetes")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param([SPANS, LIMIT], [LIMIT, SPANS], id="by time"),
        pytest.param([SPANS, replace(SPANS, at=130.0)], [SPANS], id="two hubs"),
        pytest.param(
            [SPANS, IMAGE, PIPELINE],
            [replace(SPANS, at=40.0, source="github", link="https://ci/1", author="ada")],
            id="a pipeline, the image, and the spans, with the version as the spans name it",
        ),
        pytest.param(
            [SPANS, replace(SPANS, at=200.0, before="1.4.2", after="1.4.3")],
            [SPANS, replace(SPANS, at=200.0, before="1.4.2", after="1.4.3")],
            id="two versions of one source are two deployments",
        ),
        pytest.param(
            [SPANS, replace(SPANS, at=101.0 + SAME_CHANGE_SECONDS)],
            [SPANS, replace(SPANS, at=101.0 + SAME_CHANGE_SECONDS)],
            id="the same again later",
        ),
        pytest.param(
            [PIPELINE, replace(SPANS, before="1.4.2", after="1.4.1", stage="rollback")],
            [PIPELINE, replace(SPANS, before="1.4.2", after="1.4.1", stage="rollback")],
            id="a rollback that only the spans show",
        ),
        pytest.param(
            [IMAGE, replace(SPANS, stage="rollback")], [IMAGE, replace(SPANS, stage="rollback")], id="other directions"
        ),
        pytest.param(
            [PIPELINE, replace(PIPELINE, at=90.0, after="v1.4.1"), replace(PIPELINE, at=140.0)],
            [PIPELINE, replace(PIPELINE, at=90.0, after="v1.4.1"), replace(PIPELINE, at=140.0)],
            id="a version that returns",
        ),
        pytest.param(
            [replace(PIPELINE, service=Service("gpu-prod", "llm"), source="argocd")],
            [replace(PIPELINE, source="argocd")],
            id="Argo CD with the namespace of Kubernetes",
        ),
        pytest.param([SPANS, replace(SPANS, service=Service("", "llm"))], [SPANS], id="a name without a namespace"),
        pytest.param(
            [replace(IMAGE, after="1.4.2-cuda12"), SPANS],
            [replace(SPANS, at=90.0, source="kubernetes")],
            id="a variant of the image",
        ),
        pytest.param(
            [STARTED, replace(STARTED, at=1900.0, title="deploy to prod")],
            [replace(STARTED, title="deploy to prod")],
            id="a deployment that takes half an hour, by its key",
        ),
        pytest.param(
            [STARTED, replace(STARTED, at=90.0, key="github:a/llm:8")],
            [STARTED, replace(STARTED, at=90.0, key="github:a/llm:8")],
            id="two deployments of one version",
        ),
        pytest.param([STARTED, FAILURE, FAILURE], [FAILED], id="a deployment that failed after it began"),
        pytest.param([FAILURE], [], id="one that failed before it began"),
        pytest.param(
            [STARTED, FAILURE, replace(STARTED, at=500.0)],
            [FAILED, replace(STARTED, at=500.0)],
            id="one that failed and was run again",
        ),
        pytest.param(
            [STARTED, FAILURE, SPANS],
            [replace(FAILED, before="1.4.1", after="1.4.2")],
            id="one that failed after it had reached the spans",
        ),
    ],
)
def test_reports_of_one_change_are_merged(changes: list[Change], expected: list[Change]) -> None:
    aliases = service_aliases([LLM, Service("", "web"), Service("a", "db"), Service("b", "db")])
    assert list(merged_changes(changes, aliases)) == expected
    assert merged_changes(reversed(changes), aliases) == merged_changes(changes, aliases)


def test_a_failed_change_and_the_reports_it_is_of_are_one_change() -> None:
    """A hub reads them of another, or of its samples before the failure."""
    assert merged_changes([FAILED, STARTED, FAILURE, replace(SPANS, at=300.0)]) == merged_changes(
        [STARTED, FAILURE, replace(SPANS, at=300.0)]
    )
    assert change_text(FAILED) == "serving/llm v1.4.2 (failed)"
    assert change_text(replace(FAILED, stage="canary")) == "serving/llm v1.4.2 (canary, failed)"


@pytest.mark.parametrize(
    ("image", "spans", "is_one"),
    [
        ("1.4.2-cuda12", "1.4.2", True),
        ("v1.4.2-alpine3.20", "1.4.2", True),
        ("1.4.2+build.7", "v1.4.2", True),
        ("1.4.2-rc1-cuda12", "1.4.2-rc.1", False),
        ("1.4.2-rc.1-cuda12", "1.4.2-rc.1", True),
        ("1.4.2-rc1", "1.4.2", False),
        ("1.4.2b1", "1.4.2", False),
        ("1.4.2-cuda12", "1.4.2-rocm", False),
        ("1.4.2", "1.4.20", False),
        ("1.4.2.1", "1.4.2", False),
        ("1.4.2-1", "1.4.2", False),
        ("2026-11-29-cuda12", "2026-11-29", False),
        ("latest", "1.4.2", False),
    ],
)
def test_names_of_one_version_differ_by_the_variant_of_an_image(image: str, spans: str, is_one: bool) -> None:
    found = merged_changes([replace(IMAGE, before="", after=image), replace(SPANS, before="", after=spans)])
    assert len(found) == (1 if is_one else 2)


def test_only_the_newest_changes_are_kept() -> None:
    changes = [replace(LIMIT, at=float(at), after=str(at)) for at in range(10)]
    assert [change.at for change in merged_changes(changes, limit=3)] == [7.0, 8.0, 9.0]


def test_a_name_that_two_services_have_stands_for_none() -> None:
    assert service_aliases([Service("a", "db"), Service("b", "db"), LLM]) == {Service("", "llm"): LLM}
