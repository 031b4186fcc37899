"""Changes in CloudEvents whose data are deployments of CDEvents.

Sources: CloudEvents 1.0.2, "JSON Event Format" and "HTTP Protocol Binding"; cdevents.dev, "Continuous Deployment
Events" and "CloudEvents Binding".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qs, unquote

from foreshock_dashboard.changes.fields import (
    SHORT_SHA_CHARS,
    InvalidChangeError,
    checked_time,
    cleaned,
    json_object,
    link_of,
    named_service,
    text_of,
)
from foreshock_dashboard.model.change import Change

STRUCTURED_TYPE = "application/cloudevents+json"
_DEPLOYMENT = re.compile(r"dev\.cdevents\.service\.(deployed|upgraded|rolledback|removed)\.[\w.-]+")
_SHA = "sha256:"


class CloudEvent(NamedTuple):
    """The attributes of a CloudEvent that matter here, and its data."""

    type: str
    source: str
    time: object
    data: object


def structured_event(body: object) -> CloudEvent:
    """The CloudEvent of a body in structured mode.

    Raises:
        InvalidChangeError: it is none.
    """
    if not isinstance(body, dict):
        raise InvalidChangeError("body: not a CloudEvent of one JSON object")
    for name in ("specversion", "type", "source"):
        if not isinstance(body.get(name), str):
            raise InvalidChangeError(f"{name}: missing. Send a CloudEvent")
    return CloudEvent(body["type"], body["source"], body.get("time"), body.get("data"))


def binary_event(headers: Mapping[str, str], data: object) -> CloudEvent:
    """The CloudEvent of headers in binary mode, which are percent-encoded. data: the body.

    Raises:
        InvalidChangeError: it is none.
    """
    for name in ("ce-specversion", "ce-type", "ce-source"):
        if not headers.get(name):
            raise InvalidChangeError(f"{name}: missing. Send a CloudEvent")
    type_, source, time = (unquote(headers.get(f"ce-{name}", "")) for name in ("type", "source", "time"))
    return CloudEvent(type_, source, time, data)


def deployment_event(event: CloudEvent, now: float, environment: str = "") -> Change | None:
    """The change of a CloudEvent; None unless it is a deployment. environment: the only one whose deployments count.

    Raises:
        InvalidChangeError: a field is invalid.
    """
    found = _DEPLOYMENT.fullmatch(event.type)
    if found is None:
        return None
    data = json_object(event.data, "data")
    context = json_object(data.get("context"), "data.context")
    subject = json_object(data.get("subject"), "data.subject")
    content = json_object(subject.get("content"), "data.subject.content")
    where = content.get("environment")
    target = text_of(where, "id") if isinstance(where, Mapping) else cleaned(where) if isinstance(where, str) else ""
    if environment and target != environment:
        return None
    service = named_service(text_of(subject, "id").rstrip("/").rpartition("/")[2])
    if service is None:
        raise InvalidChangeError("data.subject.id: missing. Pass the name of the service")
    happened = found[1]
    artifact = text_of(content, "artifactId")
    return Change(
        checked_time(context.get("timestamp") or event.time, now, "data.context.timestamp"),
        "deployment",
        service,
        after="" if happened == "removed" else _artifact_version(artifact),
        before=_artifact_version(artifact) if happened == "removed" else "",
        stage="rollback" if happened == "rolledback" else "",
        source="cloudevents",
        title=cleaned(f"{happened} in {target}" if target else happened),
        link=link_of(context.get("source")) or link_of(event.source),
    )


def _artifact_version(artifact: str) -> str:
    """The version in a package URL, such as `pkg:oci/llm@sha256:0b31?tag=1.4.2`; the whole text if it is none.

    Source: package-url/purl-spec.
    """
    name, _, query = artifact.partition("?")
    if tags := parse_qs(query).get("tag"):
        return cleaned(tags[0])
    version = unquote(name.rpartition("@")[2]) if "@" in name else artifact
    return cleaned(version.removeprefix(_SHA)[:SHORT_SHA_CHARS] if version.startswith(_SHA) else version)
