"""Metrics from outside: the scraper of targets and the client of the Prometheus HTTP API.

Imports: `common`, `ingest.otlp`, `model`, `sources`, `sources.http_config`.
"""
