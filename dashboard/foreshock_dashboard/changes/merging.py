"""Reports of changes merged: each change once, as several sources report it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.service import Service, qualified

SAME_CHANGE_SECONDS = 600.0
"""Longest time between two reports of one change: the rolling update of a Deployment fails after as long without
progress (`progressDeadlineSeconds`), and a pipeline reports a deployment before its first span arrives."""
MAX_CHANGES = 1000
"""Changes that are kept, the newest ones."""
_SHA = re.compile(r"(?:sha-|sha256:)?((?:(?<=[-:])|(?=\d*[a-f])(?=.{7}))[0-9a-f]{1,64})")
"""A commit or digest: seven digits or more with a letter, because a date has none, or any that are called so."""
_VERSION = re.compile(
    r"v?(?P<version>\d+(?:\.\d+)+(?:[-.]?(?:a|alpha|b|beta|dev|m|pre|preview|rc|snapshot)[-.]?\d*)?)"
    r"(?P<variant>[-_+][a-z][\w.+-]*)?",
    re.IGNORECASE,
)
"""A version with its pre-release (semver.org, PEP 440), and the variant of an image, such as `-cuda12` or `-alpine`."""


def merged_changes(
    changes: Iterable[Change], aliases: Mapping[Service, Service] = MappingProxyType({}), limit: int = MAX_CHANGES
) -> tuple[Change, ...]:
    """The changes by time, each once, at most `limit` (the newest).

    A report is about the newest change of its subject if it came within `SAME_CHANGE_SECONDS` of it and has the same
    value: ten pods of a Deployment, or two hubs; and at any time if it has the same key. Another source may name the
    version of a deployment otherwise (see `_is_one_version`): a pipeline, the image, and the spans. A change begins
    with its first report, and each later one fills in what the earlier ones lack. One that fails remains, because it
    may have reached some replicas; with the same key it then begins again as another. The failure of one that never
    began is none. aliases: see `service_aliases`.
    """
    merged: list[Change] = []
    reports: list[list[Change]] = []
    newest: dict[tuple[object, ...], int] = {}
    exported: dict[tuple[object, ...], int] = {}
    keyed: dict[str, int] = {}
    for change in sorted(changes, key=_order):
        attempt = keyed.get(change.key)
        if attempt is not None and _has_failed(merged[attempt], change.at):
            attempt = None
        if change.is_failure:
            if attempt is not None:
                merged[attempt] = replace(merged[attempt], failed_at=change.failed_at)
            continue
        named = replace(change, service=service_of_change(change, aliases))
        series = (named.at, named.kind, named.service, named.source, named.stage, named.after)
        number = exported.get(series)
        if attempt is not None:
            number = attempt
        elif number is None or not (_is_bare(named) or _is_bare(merged[number])):
            number = newest.get(_subject(named))
            if number is not None and not _is_same(named, merged[number], reports[number]):
                number = None
        if number is None:
            number = len(merged)
            merged.append(named)
            reports.append([])
        else:
            merged[number] = _filled(merged[number], named)
        reports[number].append(named)
        exported[series] = newest[_subject(named)] = number
        if named.key:
            keyed[named.key] = number
    return tuple(merged[-limit:] if limit else ())


def _has_failed(change: Change, at: float) -> bool:
    """Whether a deployment failed before a time (Unix seconds)."""
    return change.failed_at is not None and change.failed_at < at


def service_of_change(change: Change, aliases: Mapping[Service, Service]) -> Service | None:
    """The service that a change means. Argo CD names the Kubernetes namespace, which need not be the service's."""
    if change.service is None:
        return None
    unnamed = Service(qualified(change.service.cluster, ""), change.service.name)
    return aliases.get(unnamed if change.source == "argocd" else change.service, change.service)


def _is_deployment(change: Change) -> bool:
    return change.kind == "deployment" and change.service is not None


def _subject(change: Change) -> tuple[object, ...]:
    """What reports of one change share. Without a value, the title says what changed."""
    return change.subject[:2] if _is_deployment(change) else (*change.subject, "" if change.after else change.title)


def _is_bare(change: Change) -> bool:
    """Whether it has only what a series of the hub's own metrics says: it may be any report that has the same."""
    texts = (
        change.host,
        change.setting,
        change.before,
        change.title,
        change.link,
        change.author,
        change.key,
        change.revision,
    )
    return not any(texts)


def _is_same(report: Change, change: Change, reports: list[Change]) -> bool:
    """Whether a later report is about a change with these reports. One source reports each value once.

    The stage of a collected change may be unknown later, when the values before it are forgotten.
    """
    if report.at - change.at > SAME_CHANGE_SECONDS:
        return False
    if report.key and any(each.key for each in reports):
        return False  # of another deployment, or of one that failed before
    own = [each for each in reports if each.source == report.source]
    if own or not _is_deployment(report):
        value = report.after or report.title
        return any(
            value == (each.after or each.title) and (report.stage == each.stage or report.at == each.at)
            for each in own or reports
        )
    return all(_agree(report, each) for each in reports)


def _agree(report: Change, other: Change) -> bool:
    """Whether reports of two sources may be about one deployment: by version and, unless it is equal, by direction."""
    if report.after and report.after.removeprefix("v") == other.after.removeprefix("v"):
        return report.stage == other.stage or not (report.stage and other.stage)
    is_one_direction = (report.stage == "rollback") == (other.stage == "rollback")
    return is_one_direction and _is_one_version(report.after, other.after)


def _is_one_version(first: str, second: str) -> bool:
    """Whether two names may be of one artifact: one is unknown, or a SHA and a tag, or SHAs of different lengths.

    So may `1.4.2` and a variant of its image, such as `1.4.2-cuda12`, but not two variants, or a release candidate.
    """
    if not (first and second):
        return True
    versions = [found for found in map(_VERSION.fullmatch, (first, second)) if found]
    if len(versions) == 2 and versions[0]["version"] == versions[1]["version"]:
        return not (versions[0]["variant"] and versions[1]["variant"])
    shas = [found[1] for found in map(_SHA.fullmatch, (first, second)) if found]
    return len(shas) == 1 or (len(shas) == 2 and (shas[0].startswith(shas[1]) or shas[1].startswith(shas[0])))


def _order(change: Change) -> tuple[object, ...]:
    service = change.service or Service("", "")
    named = (change.kind, service, change.host, change.setting, change.after, change.source, change.title)
    return change.at, not change.is_failure, *named, change.stage, change.key


def _filled(first: Change, later: Change) -> Change:
    """The first report with what only the later one has, and with the version as the spans name it."""
    version = later if later.source == "traces" else first
    other = first if version is later else later
    return replace(
        first,
        host=first.host or later.host,
        setting=first.setting or later.setting,
        before=version.before or (other.before if other.before != version.after else ""),
        after=version.after or other.after,
        stage=first.stage or later.stage,
        title=first.title or later.title,
        link=first.link or later.link,
        author=first.author or later.author,
        key=first.key or later.key,
        revision=first.revision or later.revision,
        failed_at=later.failed_at if first.failed_at is None else first.failed_at,
    )


def service_aliases(services: Iterable[Service]) -> Mapping[Service, Service]:
    """The service that each name without a namespace or cluster stands for, where only one service has that name."""
    by_alias: dict[Service, set[Service]] = {}
    for service in services:
        aliases = [Service("", service.name)]
        if service.cluster:
            aliases += [service.local, Service(qualified(service.cluster, ""), service.name)]
        for alias in aliases:
            by_alias.setdefault(alias, set()).add(service)
    return {alias: next(iter(found)) for alias, found in by_alias.items() if len(found) == 1}
