"""Metrics derived from spans, as the Collector's span metrics connector derives them.

Imports: `ingest.otlp`, `ingest.service_graph`, `model`.
"""
