"""Pairing of client and server spans into edges, with the metric names of the Collector's servicegraph connector.

Beyond the connector: links, proxies, INTERNAL spans, retries, and fallbacks.

Imports: `ingest.otlp`, `model`.
"""
