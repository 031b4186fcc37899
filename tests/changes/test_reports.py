"""Changes that other systems report: what is read from each format, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from foreshock_dashboard.changes.argocd import argocd_change
from foreshock_dashboard.changes.cloud_events import binary_event, deployment_event, structured_event
from foreshock_dashboard.changes.fields import InvalidChangeError, link_of
from foreshock_dashboard.changes.github import github_change
from foreshock_dashboard.changes.reports import annotation, reported_change
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.service import Service

NOW = 1_800_000_000.0
AT = "2027-01-15T07:55:00Z"  # five minutes before
LINK = "https://ci.example/?a=1&b=2#c"
LLM = Service("serving", "llm")
Json = dict[str, Any]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"service": "serving/llm", "after": "1.4.2"}, Change(NOW, "deployment", LLM, after="1.4.2")),
        ({"title": "flag on", "at": AT}, Change(NOW - 300, "other", title="flag on")),
        (
            {"host": "gpu-1", "kind": "driver", "before": "550", "after": "560", "at": (NOW - 60) * 1000},
            Change(NOW - 60, "driver", host="gpu-1", before="550", after="560"),
        ),
        (
            {"service": "llm", "after": "1", "stage": "canary", "link": LINK, "author": "ada"},
            Change(
                NOW, "deployment", Service("", "llm"), after="1", stage="canary",
                link=LINK, author="ada",
            ),
        ),
    ],
)  # fmt: skip
def test_a_change_is_reported_as_json(body: Json, expected: Change) -> None:
    assert reported_change(body, NOW) == expected


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({"service": "llm"}, "after, title"),
        ({"version": "1"}, "version"),
        ({"after": 1}, "after"),
        ({"after": "x" * 201}, "after"),
        ({"title": "a\nb"}, "title"),
        ({"title": "a\u202eb"}, "title"),
        ({"author": "\x1b[31m", "after": "1"}, "author"),
        ({"after": "1", "service": "serving/"}, "service"),
        ({"after": "1", "service": ["llm"]}, "service"),
        ({"after": "1", "kind": "deploy"}, "kind"),
        ({"after": "1", "stage": "blue"}, "stage"),
        ({"after": "1", "link": "javascript:alert(1)"}, "link"),
        ({"after": "1", "at": "yesterday"}, "at"),
        ({"after": "1", "at": NOW + 3600}, "at"),
        ({"after": "1", "at": NOW - 31 * 86_400}, "at"),
        ({"after": "1", "at": True}, "at"),
        ({"after": "1", "at": 10**400}, "at"),
    ],
)
def test_an_invalid_field_is_refused_by_its_name(body: object, field: str) -> None:
    with pytest.raises(InvalidChangeError, match=f"^{field}: "):
        reported_change(body, NOW)


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)", "data:text/html,x", "//evil.example", "https://", "https://a b", "https://a\nb",
        'https://a/"onload=x', "https://a/<script>", "https://a/`", "https://[", "ftp://a",
        "https://a/" + "x" * 1000, 7,
    ],
)  # fmt: skip
def test_only_http_addresses_of_plain_characters_are_links(address: object) -> None:
    assert link_of(address) == ""


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["service:serving/llm", "version:1.4.2", "prod"], Change(NOW, "deployment", LLM, after="1.4.2")),
        (["deploy", "llm", "v1.4.2"], Change(NOW, "deployment", LLM, after="v1.4.2")),
        (["deployment", "serving/llm"], Change(NOW, "deployment", LLM)),
        (["llm"], Change(NOW, "other", LLM)),
        (["deploy", "unknown", "v1.4.2"], Change(NOW, "other", after="v1.4.2")),
        (
            ["kind:configuration", "service:llm", "author:ada"],
            Change(NOW, "configuration", Service("", "llm"), author="ada"),
        ),
        ([], Change(NOW, "other")),
    ],
)  # fmt: skip
def test_the_tags_of_a_grafana_annotation_name_what_changed(tags: list[str], expected: Change) -> None:
    body = {"dashboardUID": "x", "time": NOW * 1000, "timeEnd": NOW * 1000 + 5000, "text": "a\nb", "tags": tags}
    given = {name: getattr(expected, name) for name in ("at", "kind", "service", "after", "author")}
    assert annotation(body, NOW, [LLM]) == Change(**given, source="grafana", title="a b")


def test_a_tag_that_two_services_share_names_none_and_an_end_of_0_is_absent() -> None:
    body = {"time": NOW * 1000, "timeEnd": 0, "text": "x", "tags": ["llm", "v2.0"]}
    change = annotation(body, NOW, [LLM, Service("batch", "llm")])
    assert (change.service, change.after, change.kind) == (None, "v2.0", "other")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"text": "x", "tags": "deploy"}, "tags"),
        ({"text": "x", "tags": [1]}, "tags"),
        ({"text": " "}, "text"),
        ({"text": "x", "time": NOW * 1000, "timeEnd": (NOW - 60) * 1000}, "timeEnd"),
        ({"text": "x", "tags": ["kind:x"]}, "kind"),
    ],
)
def test_an_invalid_annotation_is_refused_by_the_field(body: Json, field: str) -> None:
    with pytest.raises(InvalidChangeError, match=f"^{field}: "):
        annotation(body, NOW, [LLM])


def cdevent(artifact: str = "pkg:npm/llm@1.4.2", environment: object = None) -> Json:
    """Data of a deployment."""
    content = {"environment": environment or {"id": "prod"}, "artifactId": artifact}
    return {
        "context": {"timestamp": AT, "source": "https://ci.example/42"},
        "subject": {"id": "/service/llm", "content": content},
    }


DEPLOYED = "dev.cdevents.service.deployed.0.2.0"
EVENT = {"specversion": "1.0", "id": "7", "source": "/ci", "type": DEPLOYED, "data": cdevent()}


@pytest.mark.parametrize(
    ("artifact", "version"),
    [
        ("pkg:oci/llm@sha256:0123456789abcdef?tag=1.4.2", "1.4.2"),
        ("pkg:oci/llm@sha256:0123456789abcdef", "0123456789ab"),
        ("pkg:npm/llm@1.4.2", "1.4.2"),
    ],
)
def test_a_deployment_in_cdevents_is_a_change(artifact: str, version: str) -> None:
    expected = Change(
        NOW - 300, "deployment", Service("", "llm"), after=version, source="cloudevents",
        title="deployed in prod", link="https://ci.example/42",
    )  # fmt: skip
    assert deployment_event(structured_event(EVENT | {"data": cdevent(artifact)}), NOW) == expected
    headers = {"ce-specversion": "1.0", "ce-id": "7", "ce-source": "/ci", "ce-type": DEPLOYED}
    assert deployment_event(binary_event(headers, cdevent(artifact)), NOW) == expected


def test_other_events_and_environments_are_no_changes() -> None:
    built = EVENT | {"type": "dev.cdevents.build.finished.0.2.0"}
    assert deployment_event(structured_event(built), NOW) is None
    assert deployment_event(structured_event(EVENT), NOW, "staging") is None
    rolled_back = EVENT | {"type": "dev.cdevents.service.rolledback.0.2.0"}
    change = deployment_event(structured_event(rolled_back), NOW, "prod")
    assert change is not None
    assert change.stage == "rollback"
    for broken in ({}, EVENT | {"data": []}, EVENT | {"data": {"subject": {"id": "/"}}}, [EVENT]):
        with pytest.raises(InvalidChangeError):
            deployment_event(structured_event(broken), NOW)


GITHUB = {"repository": {"name": "llm", "html_url": "https://github.example/a/llm"}}
DEPLOYMENT = {
    "ref": "v1.4.2", "sha": "0" * 40, "environment": "production", "created_at": AT, "creator": {"login": "ada"},
    "payload": {},
}  # fmt: skip
STATUS = {"state": "success", "created_at": AT}
ROLLED_OUT = GITHUB | {"deployment": DEPLOYMENT, "deployment_status": STATUS}


@pytest.mark.parametrize(
    ("event", "body", "expected"),
    [
        ("deployment", {"deployment": DEPLOYMENT}, ""),
        ("deployment_status", {"deployment": DEPLOYMENT, "deployment_status": {"state": "failure"}}, ""),
        ("deployment_status", {"deployment": DEPLOYMENT, "deployment_status": {"state": "inactive"}}, ""),
        (
            "deployment_status",
            {"deployment": DEPLOYMENT | {"ref": "main"}, "deployment_status": STATUS},
            f"1799999700 llm {'0' * 12} ada",
        ),
        (
            "deployment_status",
            {"deployment": DEPLOYMENT, "deployment_status": {"state": "success", "created_at": "2027-01-15T07:58:00Z"}},
            "1799999880 llm v1.4.2 ada",
        ),
        ("deployment_status", {"deployment": DEPLOYMENT, "deployment_status": {"state": "queued"}}, ""),
        (
            "deployment_status",
            {
                "deployment": DEPLOYMENT | {"payload": {"service": "serving/llm", "version": "7"}},
                "deployment_status": STATUS,
            },
            "1799999700 serving/llm 7 ada",
        ),
        (
            "release",
            {"action": "published", "release": {"tag_name": "v2", "published_at": AT, "author": {"login": "eve"}}},
            "1799999700 llm v2 eve",
        ),
        ("release", {"action": "created", "release": {}}, ""),
        ("push", {"ref": "refs/heads/main"}, ""),
        ("ping", {}, ""),
    ],
)
def test_deployments_and_releases_of_github_are_changes(event: str, body: Json, expected: str) -> None:
    change = github_change(event, GITHUB | body, NOW)
    assert (f"{change.at:.0f} {change.service} {change.after} {change.author}" if change else "") == expected


def test_the_statuses_of_a_deployment_of_github_have_its_key_and_their_failures() -> None:
    """As GitHub's documentation shows `deployment_status`; queued and inactive ones do not count."""
    repository = {"id": 186853002, "name": "Hello-World", "full_name": "Codertocat/Hello-World"}
    deployment = DEPLOYMENT | {"id": 145988746, "task": "deploy", "original_environment": "production"}
    found = [
        github_change(
            "deployment_status",
            {
                "action": "created",
                "repository": repository,
                "deployment": deployment,
                "deployment_status": {"id": 209916254 + number, "state": state, "created_at": AT, "log_url": ""},
            },
            NOW,
        )
        for number, state in enumerate(("queued", "in_progress", "success", "failure", "error", "inactive"))
    ]
    shown = [(change.key, change.is_failure) if change else None for change in found]
    key = "github:Codertocat/Hello-World:145988746"
    assert shown == [None, (key, False), (key, False), (key, True), (key, True), None]


def test_deployments_to_other_environments_of_github_do_not_count() -> None:
    assert github_change("deployment_status", ROLLED_OUT, NOW, "staging") is None
    assert github_change("deployment_status", ROLLED_OUT, NOW, "production") is not None


APPLICATION: Json = {
    "metadata": {"name": "llm"},
    "spec": {"destination": {"namespace": "serving"}, "source": {"repoURL": "https://git.example/llm"}},
    "status": {
        "sync": {"revision": "b" * 40},
        "summary": {"images": ["registry/llm:1.4.2"]},
        "operationState": {"phase": "Running", "startedAt": AT, "operation": {"initiatedBy": {"username": "ada"}}},
    },
}


@pytest.mark.parametrize(
    ("images", "version"),
    [(["r/llm:1.4.2"], "1.4.2"), (["r/a:1", "r/b:2"], "b" * 12), ([], "b" * 12), ([7], "b" * 12), (["r/a"], "b" * 12)],
)
def test_an_argo_cd_application_is_a_change(images: list[object], version: str) -> None:
    status = APPLICATION["status"] | {"summary": {"images": images}}
    change = argocd_change(APPLICATION | {"status": status}, NOW)
    assert change is not None
    assert (change.service, change.after, change.author, change.at) == (LLM, version, "ada", NOW - 300)


@pytest.mark.parametrize("phase", ["Failed", "Error", "Terminating"])
def test_a_failed_sync_is_no_change(phase: str) -> None:
    status = APPLICATION["status"]
    failed = status | {"operationState": status["operationState"] | {"phase": phase}}
    assert argocd_change(APPLICATION | {"status": failed}, NOW) is None


def test_an_application_without_a_sync_is_no_change() -> None:
    assert argocd_change({"metadata": {"name": "llm"}, "status": {}}, NOW) is None
    invalid: list[Json] = [{"spec": []}, {"status": 7}, {"status": {"operationState": {"phase": "Running"}}}]
    for broken in invalid:
        with pytest.raises(InvalidChangeError):
            argocd_change(broken, NOW)
