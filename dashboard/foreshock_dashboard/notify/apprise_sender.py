"""Sends a message by apprise, without a secret in any error or log. The only module that imports apprise, and late."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, unquote

from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.notify.channels import Channel
from foreshock_dashboard.render.notification import MessageText

if TYPE_CHECKING:
    from apprise import NotifyBase

MASK = "****"
MIN_SECRET_CHARACTERS = 4
"""Shorter parts of a URL occur in any text."""
PICTURE_NAME = "incident.png"
_LIBRARY_LOGS = ("apprise", "urllib3", "requests", "oauthlib", "requests_oauthlib", "smtplib")
"""At lower levels they log URLs."""
_WARNING_PREFIX = re.compile(r"^[\d\- :,]* - [A-Z]+ - ")

KEYS = {"pagerduty": "dedup", "opsgenie": "alias"}
"""By schema, the parameter with the key of the incident that a message opens, updates, or resolves."""

Kind = Literal["failure", "warning", "info", "success"]
"""How apprise shows a message: color, icon, priority."""


class DeliveryError(Exception):
    """The message was not accepted. The text says why and holds no secret."""


class AppriseSender:
    """Sends to one channel. For one thread.

    Raises:
        FileError: apprise does not know the schema, or the URL is incomplete.
    """

    def __init__(self, channel: Channel, path: Path) -> None:
        import apprise

        for name in _LIBRARY_LOGS:
            logging.getLogger(name).setLevel(logging.WARNING)
        library_log = logging.getLogger("apprise")
        library_log.propagate = False  # its warnings quote what is invalid; results hold those of a delivery
        if not library_log.handlers:
            library_log.addHandler(logging.NullHandler())
        self._channel = channel
        self._asset = apprise.AppriseAsset(
            app_id="foreshock",
            app_desc="foreshock",
            app_url="",
            image_url_mask="",  # else messages refer to icons on another host
            image_url_logo="",
            http_redirects=False,  # a receiver must not send a message, or a token, elsewhere
            async_mode=False,
            storage_mode="memory",
        )
        service = self._service("")
        if service is None:
            raise FileError(
                f"{path}: line {channel.line}: apprise does not accept this {channel.schema}:// URL. See its list of "
                "services for the form."
            )
        templates: tuple[str, ...] = service.templates
        self._has_host = bool(templates) and all("{host}" in template for template in templates)

    def send(
        self, message: MessageText, kind: Kind, subject: str, picture: Callable[[], bytes | None] = lambda: None
    ) -> None:
        """Send a message. Raises DeliveryError.

        subject: identifies what it is about, for services that update or resolve what they showed before.
        picture: makes a PNG, for services that take one; None for none.
        """
        import apprise
        from apprise.attachment.memory import AttachMemory

        service = self._service(subject)
        if service is None:
            raise DeliveryError("the URL is invalid")
        png = picture() if service.attachment_support else None
        attachment = AttachMemory(content=png, name=PICTURE_NAME, mimetype="image/png") if png else None
        sender = apprise.Apprise(asset=self._asset)
        sender.add(service)
        result = sender.notify(
            title=message.title, body=message.text, notify_type=kind, body_format="text", attach=attachment
        )
        if not result:
            warnings = [_WARNING_PREFIX.sub("", entry.message) for entry in result.logs()]
            raise DeliveryError(mask(" ".join(warnings) or "not accepted", self._channel.url, has_host=self._has_host))

    def _service(self, subject: str) -> NotifyBase | None:
        """The service of the URL. PagerDuty and Opsgenie get a key, so that each incident is one of theirs, too."""
        from apprise import Apprise

        url, schema = self._channel.url, self._channel.schema
        if subject and schema in KEYS and not re.search(r"[?&](dedup|alias|action)=", url):
            url += f"{'&' if '?' in url else '?'}action=map&{KEYS[schema]}={quote(subject, safe='')}"
        return Apprise.instantiate(url, asset=self._asset)


def mask(text: str, url: str, *, has_host: bool) -> str:
    """The text without any part of the URL but its schema and its host.

    has_host: whether a host stands in the place of one; some services have a token there.
    """
    authority, _, path = url.partition("://")[2].partition("/")
    user, _, host = authority.rpartition("@")
    secrets = re.split(r"[/?&=+#,:@]", f"{user}/{path}/{'' if has_host else host}")
    parts = {part for secret in secrets for part in (secret, unquote(secret)) if len(part) >= MIN_SECRET_CHARACTERS}
    for part in sorted(parts, key=len, reverse=True):
        text = re.sub(re.escape(part), MASK, text, flags=re.IGNORECASE)  # as in a host, whose case may be changed
    return text
