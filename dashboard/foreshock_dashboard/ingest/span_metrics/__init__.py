"""Metrics derived from spans, as the Collector's span metrics connector derives them.

Imports: `foreshock_exporter.exposition`, `ingest.otlp`, `ingest.service_graph`, `model`.
"""
