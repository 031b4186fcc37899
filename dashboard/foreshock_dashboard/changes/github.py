"""Changes in webhooks of GitHub, and the signature of a webhook.

Sources: GitHub's documentation, "Webhook events and payloads" and "Validating webhook deliveries".
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from foreshock_dashboard.changes.fields import (
    SHORT_SHA_CHARS,
    VERSION,
    Object,
    checked_time,
    cleaned,
    json_object,
    link_of,
    named_service,
    text_of,
)
from foreshock_dashboard.common.reloading_file import FileError, ReloadingFile, read_bounded
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.service import Service

MIN_SECRET_BYTES = 16
_DEPLOYED_STATES = frozenset({"in_progress", "success"})
_FAILED_STATES = frozenset({"failure", "error"})
_SIGNATURE = "sha256="


def webhook_secret(path: Path) -> Callable[[], bytes]:
    """The secret in a file, which is read again when it changes.

    Raises:
        FileError: it cannot be read, or is shorter than `MIN_SECRET_BYTES`.
    """

    def read() -> bytes:
        secret = read_bounded(path).strip()
        if len(secret) < MIN_SECRET_BYTES:
            raise FileError(f"{path}: fewer than {MIN_SECRET_BYTES} bytes. Use a random secret, also in GitHub")
        return secret

    return ReloadingFile([path], read, "the previous secret stays valid").current


def has_signature(secret: bytes, body: bytes, header: str) -> bool:
    """Whether `X-Hub-Signature-256` is that of a body: its HMAC (RFC 2104) in hexadecimal digits.

    The comparison takes the same time for every signature, so that none can be guessed digit by digit.
    """
    expected = _SIGNATURE + hmac.new(secret, body, sha256).hexdigest()
    return bool(secret) and hmac.compare_digest(expected.encode(), header.encode(errors="surrogatepass"))


def github_change(event: str, body: object, now: float, environment: str = "") -> Change | None:
    """The change of a webhook: a begun or successful deployment, or a published `release`; None for others.

    A deployment that is only created or waits for approval is none. One that fails gives the report of its failure
    (see `Change.is_failure`). Its key is that of the deployment. Its version is its ref if that looks like a version,
    else its commit: two deployments of a branch are of different commits.

    environment: the only one whose deployments count; "" for any. The service is `service` in the payload of the
    deployment, else the name of the repository.

    Raises:
        InvalidChangeError: a field is invalid.
    """
    values = json_object(body, "body")
    repository = json_object(values.get("repository"), "repository")
    service = named_service(text_of(repository, "name"))
    if event == "release" and values.get("action") == "published":
        return _release(json_object(values.get("release"), "release"), service, now)
    status = json_object(values.get("deployment_status"), "deployment_status")
    state = text_of(status, "state")
    if event != "deployment_status" or state not in _DEPLOYED_STATES | _FAILED_STATES:
        return None
    deployment = json_object(values.get("deployment"), "deployment")
    key = _key(repository, deployment)
    target = text_of(deployment, "environment")
    if (environment and target != environment) or (state in _FAILED_STATES and not key):
        return None
    payload = deployment.get("payload")
    payload = payload if isinstance(payload, dict) else {}
    page = link_of(repository.get("html_url"))
    ref = text_of(deployment, "ref")
    named = ref if VERSION.fullmatch(ref) else _short_sha(deployment) or ref
    at = checked_time(status.get("created_at"), now, "created_at")
    return Change(
        at,
        "deployment",
        named_service(text_of(payload, "service")) or service,
        after=text_of(payload, "version") or named,
        source="github",
        title=cleaned(f"{text_of(deployment, 'task') or 'deploy'} to {target}") if target else "",
        link=link_of(status.get("log_url")) or (f"{page}/deployments" if page else ""),
        author=_login(deployment, "creator"),
        key=key,
        failed_at=at if state in _FAILED_STATES else None,
    )


def _key(repository: Object, deployment: Object) -> str:
    """The id of a deployment within its repository; "" if it has none."""
    number = deployment.get("id")
    name = text_of(repository, "full_name") or text_of(repository, "name")
    return cleaned(f"github:{name}:{number}") if isinstance(number, int) else ""


def _release(release: Object, service: Service | None, now: float) -> Change:
    return Change(
        checked_time(release.get("published_at"), now, "release.published_at"),
        "deployment",
        service,
        after=text_of(release, "tag_name"),
        source="github",
        title=text_of(release, "name"),
        link=link_of(release.get("html_url")),
        author=_login(release, "author"),
    )


def _short_sha(values: Object) -> str:
    return text_of(values, "sha")[:SHORT_SHA_CHARS]


def _login(values: Object, field: str) -> str:
    user = values.get(field)
    return text_of(user, "login") if isinstance(user, dict) else ""
