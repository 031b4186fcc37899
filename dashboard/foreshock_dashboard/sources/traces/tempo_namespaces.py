"""Namespaces of services, which Tempo's lists leave out: they name services by name alone."""

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

CACHE_SECONDS, MAX_NAMES = 600.0, 10_000
"""Seconds for which it is remembered which namespaces a service's name is in, and of how many names."""
MAX_LOOKUPS = 20
"""Names of one list whose namespaces are asked for."""


class NamespaceCache:
    """What is known of them, asked of Tempo and remembered for a while."""

    def __init__(self, remote: ApiClient, monotonic: Callable[[], float]) -> None:
        self._remote, self._monotonic = remote, monotonic
        self._known: dict[str, tuple[float, frozenset[str]]] = {}

    def service(self, name: str) -> Service:
        """The service of that name, with its namespace where names of one namespace only are known."""
        _, known = self._known.get(name, (0.0, frozenset()))
        return Service(next(iter(known)) if len(known) == 1 else "", name)

    def learn(self, hits: Iterable[Hit], start: int, end: int) -> None:
        """Ask for those of services that the lists name without; what cannot be learned costs itself only."""
        now = self._monotonic()
        names: dict[str, None] = {}
        for hit in hits:
            told = {span.service.name for span in hit.spans if span.service}
            names |= dict.fromkeys(name for name in (*hit.stats, *(hit.root or ())[:1]) if name not in told)
        unknown = [name for name in names if self._known.get(name, (-math.inf,))[0] < now]
        if len(self._known) + len(unknown) > MAX_NAMES:
            self._known.clear()
        for name in unknown[:MAX_LOOKUPS]:
            given = {"q": service_query(name), "start": str(start), "end": str(end)}
            try:
                answer = self._remote.get("/api/v2/search/tag/resource.service.namespace/values", given)
                known = read_values(answer.body) if answer.status == 200 else frozenset()
            except (SourceError, ValueError) as error:
                log.info("%s: the namespaces of services are not known: %s", self._remote.name, error)
                return
            self._known[name] = now + CACHE_SECONDS, known
