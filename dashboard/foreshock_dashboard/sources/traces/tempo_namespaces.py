"""Namespaces of services, which Tempo's search results omit."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable

from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.sources.traces.http_client import ApiClient
from foreshock_dashboard.sources.traces.tempo_json import Hit, read_values
from foreshock_dashboard.sources.traces.traceql import service_query

log = logging.getLogger(__name__)

CACHE_SECONDS = 600.0
MAX_NAMES = 10_000
"""Service names with cached namespaces."""
MAX_LOOKUPS = 20
"""Limit of service names in one search for namespaces."""


class NamespaceCache:
    """Namespaces by service name, requested from Tempo and cached."""

    def __init__(self, api: ApiClient, monotonic: Callable[[], float]) -> None:
        self._api, self._monotonic = api, monotonic
        self._cache: dict[str, tuple[float, frozenset[str]]] = {}

    def service(self, name: str) -> Service:
        """Return the service with this name, with its namespace if there is only one."""
        _, namespaces = self._cache.get(name, (0.0, frozenset()))
        return Service(next(iter(namespaces)) if len(namespaces) == 1 else "", name)

    def learn(self, hits: Iterable[Hit], start: int, end: int) -> None:
        """Request the namespaces of the services in search results that lack them. A failure is logged and ignored."""
        now = self._monotonic()
        names: dict[str, None] = {}
        for hit in hits:
            complete = {span.service.name for span in hit.spans if span.service}
            names |= dict.fromkeys(name for name in (*hit.stats, *(hit.root or ())[:1]) if name not in complete)
        unknown = [name for name in names if self._cache.get(name, (-math.inf,))[0] < now]
        if len(self._cache) + len(unknown) > MAX_NAMES:
            self._cache.clear()
        for name in unknown[:MAX_LOOKUPS]:
            params = {"q": service_query(name), "start": str(start), "end": str(end)}
            try:
                response = self._api.get("/api/v2/search/tag/resource.service.namespace/values", params)
                namespaces = read_values(response.body) if response.status == 200 else frozenset()
            except (SourceError, ValueError) as error:
                log.info("%s: the namespaces of services are not known: %s", self._api.name, error)
                return
            self._cache[name] = now + CACHE_SECONDS, namespaces
