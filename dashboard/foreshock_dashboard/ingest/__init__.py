"""Spans in: decoded, paired into a service graph, and counted as metrics.

Imports: `common`, `ingest.otlp`, `ingest.service_graph`, `ingest.span_metrics`, `model`.
"""
