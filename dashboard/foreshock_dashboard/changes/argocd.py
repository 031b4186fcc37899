"""Changes in notifications of Argo CD, whose body is the Application: `{{toJson .app}}`.

Source: Argo CD's documentation, "Notifications: Webhook" and "Application Specification".
"""

from __future__ import annotations

from collections.abc import Mapping

from foreshock_dashboard.changes.fields import (
    SHORT_SHA_CHARS,
    InvalidChangeError,
    Object,
    checked_time,
    cleaned,
    json_object,
    link_of,
    named_service,
    text_of,
)
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.span import image_tag

_DEPLOYING = frozenset({"Running", "Succeeded"})
"""Phases of an operation; the others are Terminating, Failed, and Error."""


def argocd_change(body: object, now: float) -> Change | None:
    """The change of an Application: the begin of its newest sync; None before the first, and if it failed.

    The service is the namespace of the destination and the name of the Application; `merged_changes` maps the
    namespace.

    Raises:
        InvalidChangeError: a field is invalid.
    """
    metadata, spec, status = _at(body, "metadata"), _at(body, "spec"), _at(body, "status")
    operation = _at(status, "operationState")
    if not operation or text_of(operation, "phase") not in _DEPLOYING:
        return None
    service = named_service(text_of(metadata, "name"), text_of(_at(spec, "destination"), "namespace"))
    if service is None:
        raise InvalidChangeError("metadata.name: missing. Send the Application, as {{toJson .app}} does")
    images = _at(status, "summary").get("images")
    tags = {image_tag(image) for image in images if isinstance(image, str)} if isinstance(images, list) else set()
    started = _at(operation, "operation")
    revision = text_of(_at(operation, "syncResult"), "revision") or text_of(_at(status, "sync"), "revision")
    by = _at(started, "initiatedBy")
    return Change(
        checked_time(operation.get("startedAt"), now, "status.operationState.startedAt"),
        "deployment",
        service,
        after=cleaned(tags.pop()) if len(tags) == 1 and "" not in tags else revision[:SHORT_SHA_CHARS],
        source="argocd",
        title="sync",
        link=link_of(_at(spec, "source").get("repoURL")),
        author=text_of(by, "username") or ("automated sync" if by.get("automated") is True else ""),
    )


def _at(values: object, field: str) -> Object:
    return json_object(values.get(field), field) if isinstance(values, Mapping) else json_object(values, "body")
