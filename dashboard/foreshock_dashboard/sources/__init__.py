"""Clients and servers of other systems' protocols: OTLP, Prometheus, Tempo, Jaeger.

Imports: `common`, `model`, `sources.http_config`.
"""
