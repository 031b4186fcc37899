"""Hosts that mean this machine alone, and URLs as messages may show them."""

from __future__ import annotations

import ipaddress
import re


def is_loopback(host: str) -> bool:
    """Whether a host is `localhost` or a loopback address, and so is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def without_credentials(url: str) -> str:
    """The text without user and password, for messages, logs, and the API.

    Everything from `//`, or else from the first quotation mark or the beginning, up to the last `@` goes: a password
    with an unescaped `/`, or a URL that is invalid, is a mistake in which the password must not show either.
    """
    return re.sub(r"^([^@]*?//|[^'\"@]*['\"]|).*@", r"\1", url, count=1, flags=re.DOTALL)
