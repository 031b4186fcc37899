"""Changes that are reported in the hub's own format, or as annotations of Grafana."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from foreshock_dashboard.changes.fields import (
    VERSION,
    InvalidChangeError,
    checked_choice,
    checked_link,
    checked_service,
    checked_text,
    checked_time,
    cleaned,
    named_service,
)
from foreshock_dashboard.changes.merging import service_aliases
from foreshock_dashboard.model.change import CHANGE_KINDS, STAGES, Change, ChangeKind
from foreshock_dashboard.model.service import Service

FIELDS = ("at", "kind", "service", "host", "setting", "before", "after", "stage", "title", "link", "author", "revision")
REVISION = re.compile(r"[1-9][0-9]{0,8}")
"""A revision of a Deployment in Kubernetes."""
MAX_TAGS = 50
_DEPLOYS = frozenset({"deploy", "deployed", "deployment", "release", "rollout"})
"""Tags of annotations that pipelines write about deployments."""


def reported_change(body: object, now: float) -> Change:
    """The change of a JSON object with the fields of `Change`. now: Unix seconds, the default of `at`.

    Raises:
        InvalidChangeError: a field is unknown or invalid, or nothing says what changed.
    """
    if not isinstance(body, dict):
        raise InvalidChangeError("body: not a JSON object")
    if unknown := sorted(map(str, body.keys() - set(FIELDS))):
        raise InvalidChangeError(f"{unknown[0][:40]}: unknown field. Use {', '.join(FIELDS)}")
    service, after, title = checked_service(body), checked_text(body, "after"), checked_text(body, "title")
    if not (after or title):
        raise InvalidChangeError("after, title: missing. Pass the new version or value, or a title")
    default: ChangeKind = "deployment" if service and after else "other"
    return Change(
        checked_time(body.get("at"), now, "at"),
        checked_choice(body, "kind", CHANGE_KINDS, default),
        service,
        checked_text(body, "host"),
        checked_text(body, "setting"),
        checked_text(body, "before"),
        after,
        checked_choice(body, "stage", STAGES, ""),
        "api",
        title,
        checked_link(body),
        checked_text(body, "author"),
        revision=_revision(body),
    )


def _revision(body: Mapping[str, object]) -> str:
    """A number of a revision in Kubernetes; "" without one. Raises InvalidChangeError."""
    number = body.get("revision")
    text = str(number) if type(number) is int else checked_text(body, "revision")
    if text and not REVISION.fullmatch(text):
        raise InvalidChangeError("revision: not a number. Pass that of `kubectl rollout history` before the deployment")
    return text


def annotation(body: object, now: float, known: Collection[Service]) -> Change:
    """The change of a Grafana annotation: `text`, `time` and `timeEnd` (0: none) in Unix milliseconds, and `tags`.

    Tags `service:NAME`, `version:VERSION`, `kind:KIND`, and `author:NAME` are explicit. Otherwise a tag that names one
    of the `known` services, and only one, is the service, one that looks like a version is the version, and one such as
    `deploy` makes it a deployment, so that the annotations of an existing pipeline suffice. The change begins at
    `time`.

    Source: Grafana's documentation, "Annotations HTTP API", Create annotation.

    Raises:
        InvalidChangeError: a field is invalid.
    """
    if not isinstance(body, dict):
        raise InvalidChangeError("body: not a JSON object")
    tags = body.get("tags") or []
    if not isinstance(tags, list) or len(tags) > MAX_TAGS or not all(isinstance(tag, str) for tag in tags):
        raise InvalidChangeError(f"tags: not a list of up to {MAX_TAGS} texts")
    title = body.get("text")
    if not isinstance(title, str) or not cleaned(title):
        raise InvalidChangeError("text: missing. Pass what changed")
    at = checked_time(body.get("time"), now, "time")
    if checked_time(body.get("timeEnd") or None, max(at, now), "timeEnd") < at:
        raise InvalidChangeError("timeEnd: before time")
    named = dict(tag.split(":", 1) for tag in reversed(tags) if ":" in tag)
    unique = {alias.name: service for alias, service in service_aliases(known).items() if not alias.namespace}
    by_tag = unique | {str(service): service for service in known}
    service = named_service(cleaned(named.get("service", ""))) or next(
        (by_tag[tag] for tag in tags if tag in by_tag), None
    )
    version = named.get("version") or next((tag for tag in tags if VERSION.fullmatch(tag)), "")
    is_deployment = bool(service and (version or not _DEPLOYS.isdisjoint(map(str.lower, tags))))
    default: ChangeKind = "deployment" if is_deployment else "other"
    return Change(
        at,
        checked_choice({"kind": cleaned(named.get("kind", ""))}, "kind", CHANGE_KINDS, default),
        service,
        after=cleaned(version),
        source="grafana",
        title=cleaned(title),
        author=cleaned(named.get("author", "")),
    )
