"""Owner, tier, and links of a service."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from foreshock_dashboard.model.service import Ownership, Service

MAX_TEXT = 200
"""Characters of an owner or tier; longer ones are ignored, as are those with control characters."""
MAX_URL = 2000


Ownerships = Mapping[Service, Ownership]
UNKNOWN = Ownership()


def is_link(url: str) -> bool:
    """Whether a text is an http or https URL with a host."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and len(url) <= MAX_URL and url.isprintable()


def ownership_of(service: Service, known: Ownerships) -> Ownership:
    """The ownership of a service. A service without a namespace gets that of the only one with its name."""
    if service in known:
        return known[service]
    named = [found for other, found in known.items() if other.name == service.name]
    has_namespace = bool(service.namespace)
    return named[0] if len(named) == 1 and not has_namespace else known.get(Service("", service.name), UNKNOWN)
