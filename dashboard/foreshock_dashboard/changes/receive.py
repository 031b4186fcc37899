"""Changes that other systems report: JSON, Grafana annotations, CloudEvents, and webhooks of GitHub and Argo CD.

Each reader validates what it takes, and ignores what is no change. Bodies are bounded by the server.
"""

from __future__ import annotations

import hmac
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, get_args
from urllib.parse import parse_qs, unquote, urlsplit

from foreshock_dashboard.model.change import (
    CHANGE_KINDS,
    MAX_TEXT_CHARS,
    Change,
    ChangeKind,
    ChangeSource,
    Stage,
)
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import image_tag

MAX_AGE_SECONDS = 30 * 86_400.0
"""How long ago a change may have been."""
MAX_AHEAD_SECONDS = 300.0
"""How far in the future a change may be, for clocks that differ."""
_MILLISECONDS_FROM = 1e11
"""Numbers above are Unix milliseconds: as seconds, the year 5138."""
SHORT_SHA = 12
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_CDEVENT = re.compile(r"dev\.cdevents\.service\.(deployed|upgraded|rolledback|removed)\.")
"""Deployments in CDEvents (cdevents.dev, "Continuous Deployment Events")."""
FIELDS = ("at", "kind", "service", "host", "setting", "before", "after", "stage", "title", "link", "author")

Object = Mapping[str, Any]
"""A JSON object of a sender."""


class InvalidChangeError(ValueError):
    """A reported change is invalid. The message names the field and the remedy."""


def change_of(body: object, now: float, source: ChangeSource = "api") -> Change:
    """The change of a JSON object with the fields of `Change`; `at` is `now` (Unix seconds) by default.

    Raises:
        InvalidChangeError: a field is unknown or invalid, or nothing says what changed.
    """
    values = _object(body, "the body")
    if unknown := sorted(values.keys() - set(FIELDS)):
        raise InvalidChangeError(f"{unknown[0]}: unknown field. Use {', '.join(FIELDS)}")
    service = _service(values.get("service"))
    after, title = _text(values, "after"), _text(values, "title")
    if not (after or title):
        raise InvalidChangeError("after: missing. Give the version or value, or a title")
    kind: ChangeKind = "deployment" if service and after else "other"
    stage: Stage = ""
    if (given := values.get("kind")) is not None:
        kind = _choice("kind", given, CHANGE_KINDS)
    if (given := values.get("stage")) not in (None, ""):
        stage = _choice("stage", given, get_args(Stage)[1:])
    return Change(
        _time(values.get("at", now), now, "at"),
        kind,
        service,
        _text(values, "host"),
        _text(values, "setting"),
        _text(values, "before"),
        after,
        stage,
        source,
        title,
        _link(values.get("link")),
        _text(values, "author"),
    )


def annotation(body: object, now: float) -> Change:
    """The change of a Grafana annotation (HTTP API, "Create annotation"): `text`, `time` in ms, and `tags`.

    The tags `service:NAME`, `version:VERSION`, `kind:KIND`, and `author:NAME` are read; others are part of nothing.

    Raises:
        InvalidChangeError: a field is invalid.
    """
    values = _object(body, "the body")
    tags = values.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise InvalidChangeError("tags: not a list of texts")
    named = dict(tag.split(":", 1) for tag in tags if ":" in tag)
    fields = {"service": named.get("service"), "after": named.get("version"), "title": values.get("text")}
    fields |= {"kind": named.get("kind"), "author": named.get("author"), "at": values.get("time", now)}
    return change_of({name: value for name, value in fields.items() if value is not None}, now, "grafana")


def cloud_event(type_: str, source: str, time: object, data: object, now: float) -> Change | None:
    """The change of a CloudEvent with a CDEvents deployment as data; None for other types.

    Raises:
        InvalidChangeError: a field is invalid.
    """
    found = _CDEVENT.match(type_)
    if found is None:
        return None
    values = _object(data, "data")
    context = _object(values.get("context", {}), "data.context")
    subject = _object(values.get("subject", {}), "data.subject")
    content = _object(subject.get("content", {}), "data.subject.content")
    path = [part for part in _text(subject, "id", "data.subject.id").split("/") if part]
    if not path:
        raise InvalidChangeError("data.subject.id: missing. Give the name of the service")
    environment = content.get("environment")
    where = _text(environment, "id") if isinstance(environment, Mapping) else ""
    happened = found[1]
    return Change(
        _time(context.get("timestamp") or time or now, now, "data.context.timestamp"),
        "deployment",
        Service("", path[-1]),
        after="removed" if happened == "removed" else _artifact_version(_text(content, "artifactId")),
        stage="rollback" if happened == "rolledback" else "",
        source="cloudevents",
        title=_clean(f"{happened} in {where}" if where else happened),
        link=_link_or_none(context.get("source")) or _link_or_none(source),
    )


def github_event(event: str, body: object, now: float) -> Change | None:
    """The change of a GitHub webhook: `deployment`, a published `release`, or a `push` to the default branch.

    Raises:
        InvalidChangeError: a field is invalid.
    """
    values = _object(body, "the body")
    repository = _object(values.get("repository", {}), "repository")
    service = Service("", name) if (name := _text(repository, "name", "repository.name")) else None
    page = _link_or_none(repository.get("html_url"))
    if event == "deployment":
        deployment = _object(values.get("deployment"), "deployment")
        creator = _object(deployment.get("creator") or {}, "deployment.creator")
        revision = _text(deployment, "ref") or _text(deployment, "sha")[:SHORT_SHA]
        return Change(
            _time(deployment.get("created_at") or now, now, "deployment.created_at"),
            "deployment",
            service,
            after=revision,
            source="github",
            title=_clean(f"{_text(deployment, 'task') or 'deploy'} to {_text(deployment, 'environment') or 'unknown'}"),
            link=page and f"{page}/deployments",
            author=_text(creator, "login"),
        )
    if event == "release" and values.get("action") == "published":
        release = _object(values.get("release"), "release")
        return Change(
            _time(release.get("published_at") or now, now, "release.published_at"),
            "deployment",
            service,
            after=_text(release, "tag_name"),
            source="github",
            title=_text(release, "name") or "release",
            link=_link_or_none(release.get("html_url")),
            author=_text(_object(release.get("author") or {}, "release.author"), "login"),
        )
    branch = f"refs/heads/{_text(repository, 'default_branch')}"
    if event == "push" and values.get("ref") == branch and not values.get("deleted"):
        commit = _object(values.get("head_commit") or {}, "head_commit")
        return Change(
            _time(commit.get("timestamp") or now, now, "head_commit.timestamp"),
            "other",
            service,
            after=_text(values, "after")[:SHORT_SHA],
            source="github",
            title=_clean(str(commit.get("message") or "push").partition("\n")[0]),
            link=_link_or_none(values.get("compare")),
            author=_text(_object(values.get("pusher") or {}, "pusher"), "name"),
        )
    return None


def argocd_event(body: object, now: float) -> Change | None:
    """The change of an Argo CD Application, as its notifications send it (`{{toJson .app}}`); None before a sync.

    Raises:
        InvalidChangeError: a field is invalid.
    """
    app = _object(body, "the body")
    metadata, spec, status = (_object(app.get(name) or {}, name) for name in ("metadata", "spec", "status"))
    operation = _object(status.get("operationState") or {}, "status.operationState")
    if not operation:
        return None
    destination = _object(spec.get("destination") or {}, "spec.destination")
    sync = _object(status.get("sync") or {}, "status.sync")
    summary = _object(status.get("summary") or {}, "status.summary")
    images = summary.get("images") or []
    name = _text(metadata, "name", "metadata.name")
    if not name or not isinstance(images, list):
        raise InvalidChangeError("metadata.name: missing. Send the Application, as {{toJson .app}} does")
    tags = {tag for image in images if (tag := image_tag(str(image)))}
    started = _object(operation.get("operation") or {}, "status.operationState.operation")
    by = _object(started.get("initiatedBy") or {}, "status.operationState.operation.initiatedBy")
    source = _object(spec.get("source") or {}, "spec.source")
    return Change(
        _time(operation.get("startedAt") or now, now, "status.operationState.startedAt"),
        "deployment",
        Service(_text(destination, "namespace"), name),
        after=_clean(tags.pop() if len(tags) == 1 else _text(sync, "revision")[:SHORT_SHA]),
        source="argocd",
        title=_clean(f"sync {_text(operation, 'phase')}".strip()),
        link=_link_or_none(source.get("repoURL")),
        author=_text(by, "username"),
    )


def has_signature(secret: bytes, body: bytes, header: str) -> bool:
    """Whether a body has GitHub's signature: `sha256=` and the HMAC (RFC 2104) in hexadecimal digits.

    GitHub's documentation, "Validating webhook deliveries".
    """
    expected = f"sha256={hmac.new(secret, body, sha256).hexdigest()}"
    return bool(secret) and hmac.compare_digest(expected.encode(), header.encode("utf-8", "replace"))


def _artifact_version(artifact: str) -> str:
    """The version in a package URL (purl), such as `pkg:oci/llm@sha256:0b31?tag=1.4.2`; else the whole text."""
    name, _, query = artifact.partition("?")
    if tag := parse_qs(query).get("tag"):
        return _clean(tag[0])
    version = unquote(name.rpartition("@")[2]) if "@" in name else ""
    return _clean(version.removeprefix("sha256:")[:SHORT_SHA] if version.startswith("sha256:") else version or artifact)


def _object(value: object, field: str) -> Object:
    if not isinstance(value, Mapping):
        raise InvalidChangeError(f"{field}: not a JSON object")
    return value


def _clean(text: str) -> str:
    return _CONTROL.sub(" ", text).strip()[:MAX_TEXT_CHARS]


def _text(values: Object, name: str, field: str = "") -> str:
    value = values.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidChangeError(f"{field or name}: not a text")
    return _clean(value)


def _choice(field: str, value: object, allowed: tuple[Any, ...]) -> Any:  # noqa: ANN401 - one of a Literal
    if value not in allowed:
        raise InvalidChangeError(f"{field}: {str(value)[:40]!r} is unknown. Use {', '.join(allowed)}")
    return value


def _service(value: object) -> Service | None:
    if value in (None, ""):
        return None
    try:
        return Service.parse(_text({"service": value}, "service"))
    except ValueError as error:
        raise InvalidChangeError(f"service: {error}") from error


def _link(value: object) -> str:
    if value in (None, ""):
        return ""
    if not (link := _link_or_none(value)):
        raise InvalidChangeError("link: not an http or https address")
    return link


def _link_or_none(value: object) -> str:
    """An address that a page may link to; "" for anything else."""
    text = value if isinstance(value, str) else ""
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    is_address = parts.scheme in ("http", "https") and parts.netloc and not _CONTROL.search(text)
    return text if is_address and len(text) <= 10 * MAX_TEXT_CHARS else ""


def _time(value: object, now: float, field: str) -> float:
    """Unix seconds of a number (seconds or milliseconds) or an RFC 3339 text, near `now`."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidChangeError(f"{field}: not a time. Use Unix seconds, or 2026-01-05T08:41:00Z") from None
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        seconds = value / 1000 if abs(value) >= _MILLISECONDS_FROM else float(value)
    else:
        raise InvalidChangeError(f"{field}: not a time. Use Unix seconds, or 2026-01-05T08:41:00Z")
    if not now - MAX_AGE_SECONDS <= seconds <= now + MAX_AHEAD_SECONDS:
        raise InvalidChangeError(f"{field}: not within the last 30 days")
    return seconds
