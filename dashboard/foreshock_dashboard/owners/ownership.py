"""Owner, tier, and links of a service."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from foreshock_dashboard.model.service import Ownership, Service, qualified

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
    """The ownership of a service. A service without a namespace gets that of the only one with its name in its cluster.

    What names no cluster is of every cluster.
    """
    local = service.local
    for name in (service, local):
        if name in known:
            return known[name]
    named = [found for other, found in known.items() if other.name == service.name and other.cluster == service.cluster]
    if len(named) == 1 and not local.namespace:
        return named[0]
    without_namespace = (Service(qualified(cluster, ""), service.name) for cluster in (service.cluster, ""))
    return next((known[name] for name in without_namespace if name in known), UNKNOWN)
