"""What spans tell of requests to models, as metrics of each service and model."""

from __future__ import annotations

from foreshock_dashboard.ingest.otlp.gen_ai import Request
from foreshock_dashboard.ingest.span_metrics.names import LLM_FIRST_TOKEN, LLM_QUEUE, LLM_TOKENS
from foreshock_dashboard.ingest.span_metrics.registry import OTHER, Registry
from foreshock_dashboard.model.samples import Labels, labels_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Id

MAX_MODELS = 50
"""Models that each service may have in metrics; further ones are counted together as `OTHER`."""
MAX_SERVICES = 10_000
"""Services whose models are remembered."""
MAX_RECENT = 200_000
"""Spans of requests remembered, twice, to tell those that lie within each other."""


class LlmMetrics:
    """Counts requests to models, each once for each service that tells of it: the caller, and the one that computes.

    Where two instrumentations of one service tell of the same request, one span is the other's parent; the one that
    comes first is counted.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._models: dict[Service, set[str]] = {}
        self._newer: set[int] = set()
        self._older: set[int] = set()

    def add(self, span: Id, above: Id, service: Service, request: Request, now: float) -> None:
        """Count what a span with this id, under that one, told."""
        if self._told(span, above, service):
            return
        model = self._model(service, request.model)
        labels = of_model(service, model)
        for family, seconds in ((LLM_QUEUE, request.queue), (LLM_FIRST_TOKEN, request.first_token)):
            if seconds is not None:
                self._registry.get(family, labels, now).observe(seconds, span)
        for direction, tokens in (("input", request.input_tokens), ("output", request.output_tokens)):
            if tokens is not None:
                self._registry.get(LLM_TOKENS, of_model(service, model, direction), now).add(tokens, now)

    def _told(self, span: Id, above_: Id, service: Service) -> bool:
        own, above = hash((span, service)), hash((above_, service))
        recent = (self._newer, self._older)
        if any(~own in seen or above in seen for seen in recent):
            return True
        self._newer |= {own, ~above} if above_ else {own}  # of the one above, the complement: it was not told
        if len(self._newer) >= MAX_RECENT:
            self._newer, self._older = set(), self._newer
        return False

    def _model(self, service: Service, model: str) -> str:
        if service not in self._models and len(self._models) >= MAX_SERVICES:
            self._models.clear()
        models = self._models.setdefault(service, set())
        if model in models:
            return model
        if len(models) >= MAX_MODELS:
            return OTHER
        models.add(model)
        return model


def of_model(service: Service, model: str, direction: str = "") -> Labels:
    """The labels of the series of a service and a model."""
    return labels_of(
        {
            "service_name": service.name[:200],
            "service_namespace": service.namespace[:200],
            "gen_ai_request_model": model,
            "direction": direction,
        }
    )
