"""Metrics derived from spans, with the names of the Collector's spanmetrics connector.

INTERNAL spans are left out.

Imports: `common`, `foreshock_exporter.exposition`, `ingest.otlp`, `ingest.service_graph`, `model`.
"""
